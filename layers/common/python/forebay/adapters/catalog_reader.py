"""Questions people ask of the catalog, each answered by queries, never by a scan."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from forebay.adapters import keys
from forebay.adapters.items import from_item, item_key, object_record, pipeline_run
from forebay.adapters.queries import Query, batch_items, query_items
from forebay.domain.objects import Location, ObjectRecord, place_id
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.states import State
from forebay.events import utc_moment, utc_text
from forebay.names import INDEX_BY_GROUP, INDEX_BY_STATE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Study:
    """One imaging study, as the search entries describe it; dates are DICOM `YYYYMMDD` or `-`."""

    study_instance_uid: str
    study_date: str
    site: str
    modalities: tuple[str, ...] = ()
    series: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class StateEntry:
    """An object in a state, and since when."""

    since: datetime
    object_id: str


@dataclass(frozen=True, slots=True)
class CatalogReader:
    """Reads for people: the command line and, later, the API."""

    client: "DynamoDBClient"
    table: str
    history_table: str

    def object(self, object_id: str) -> ObjectRecord | None:
        """Return one object's record; raises ValueError when the id is none."""
        item = self._item(keys.object_key(object_id))
        return object_record(item) if item else None

    def objects(self, object_ids: Iterable[str]) -> list[ObjectRecord]:
        """Return the records that exist among the ids, in their order."""
        wanted = tuple(object_ids)
        found = self.records(frozenset(wanted))
        return [found[object_id] for object_id in wanted if object_id in found]

    def versions(self, bucket: str, key: str) -> list[ObjectRecord]:
        """Return every version of a key that arrived, latest arrival first."""
        query = Query(f"OBJ#{place_id(bucket, key)}", prefix=keys.VERSION_PREFIX)
        records = [object_record(item) for item in self._items(query)]
        return sorted(records, key=lambda record: record.arrived_at, reverse=True)

    def history(self, object_id: str) -> list[dict[str, Any]]:
        """Return the changes of one object, first to last."""
        return [from_item(i) for i in self._items(Query(object_id), table=self.history_table)]

    def children(self, object_id: str) -> list[str]:
        """Return the ids of the objects made from one."""
        return [item["sk"]["S"] for item in self._items(Query(keys.children_pk(object_id)))]

    def sites(self) -> list[str]:
        """Return the sites that ever sent something."""
        return [item["sk"]["S"] for item in self._items(Query(keys.SITES_PK))]

    def pipeline_run(self, run_id: str) -> PipelineRun | None:
        """Return one pipeline run."""
        item = self._item(keys.run_key(run_id))
        return pipeline_run(item) if item else None

    def outputs_of_run(self, run_id: str) -> list[ObjectRecord]:
        """Return the objects a pipeline run handed in."""
        query = Query(f"PRUN#{run_id}", index=INDEX_BY_GROUP)
        return [object_record(i) for i in self._items(query) if i["entity"]["S"] == "object"]

    def pipeline_runs(self, state: RunState, *, limit: int = 100) -> list[PipelineRun]:
        """Return the latest pipeline runs in a state."""
        query = Query(f"RUN-{state.value}", index=INDEX_BY_STATE, newest_first=True)
        ids = [i["state_sk"]["S"].partition("#")[2] for i in self._items(query, limit=limit)]
        runs = [self.pipeline_run(run_id) for run_id in ids]
        return [run for run in runs if run is not None]

    def entries_in_state(
        self,
        state: State,
        *,
        sites: Iterable[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[StateEntry]:
        """Return objects in a state and since when, of all sites or those named, latest first."""
        low = utc_text(since) if since else ""
        high = utc_text(until) if until else ""
        found: list[StateEntry] = []
        for pk in self._partitions([state], sites):
            query = Query(pk, index=INDEX_BY_STATE, low=low, high=high, newest_first=True)
            for item in self._items(query, limit=limit):
                since_text, _, object_id = item["state_sk"]["S"].partition("#")
                found.append(StateEntry(utc_moment(since_text), object_id))
        return sorted(found, reverse=True)[:limit]

    def in_state(
        self,
        state: State,
        *,
        sites: Iterable[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[str]:
        """Return ids of objects in a state, of all sites unless some are named, latest first."""
        entries = self.entries_in_state(state, sites=sites, since=since, until=until, limit=limit)
        return [entry.object_id for entry in entries]

    def ids_in_states(
        self, states: Iterable[State], *, site: str = "", since: datetime | None = None
    ) -> Iterator[str]:
        """Yield ids of objects by state, site and time, without end; the index lags a little."""
        low = utc_text(since) if since else ""
        for pk in self._partitions(tuple(states), [site] if site else ()):
            for item in self._items(Query(pk, index=INDEX_BY_STATE, low=low)):
                yield item["state_sk"]["S"].partition("#")[2]

    def records(self, object_ids: Collection[str]) -> dict[str, ObjectRecord]:
        """Return the records that exist among the ids, read consistently."""
        wanted = map(keys.object_key, object_ids)
        items = batch_items(self.client, self.table, wanted)
        return {item["object_id"]["S"]: object_record(item) for item in items}

    def objects_of_copies(self, copies: Collection[Location]) -> dict[Location, str]:
        """Return the objects that copies in zones and quarantine belong to."""
        places = {keys.copy_key(copy): copy for copy in copies}
        return {
            places[item["pk"]["S"], item["sk"]["S"]]: item["object_id"]["S"]
            for item in batch_items(self.client, self.table, places)
        }

    def objects_at(self, bucket: str, key: str) -> list[str]:
        """Return the objects that ever had a copy under a key, each once."""
        pk, _ = keys.copy_key(Location(bucket, key))
        return list(dict.fromkeys(item["object_id"]["S"] for item in self._items(Query(pk))))

    def count_in_state(self, state: State) -> int:
        """Return how many objects are in a state now."""
        partitions = self._partitions([state], ())
        return sum(self._count(Query(pk, index=INDEX_BY_STATE)) for pk in partitions)

    def count_runs(self, state: RunState) -> int:
        """Return how many pipeline runs are in a state now."""
        return self._count(Query(f"RUN-{state.value}", index=INDEX_BY_STATE))

    def study(self, study_uid: str) -> Study | None:
        """Return a study with its series and modalities."""
        items = [from_item(item) for item in self._items(Query(keys.study_pk(study_uid)))]
        series = [item for item in items if item["entity"] == "series"]
        if not series:
            return None
        return Study(
            study_instance_uid=study_uid,
            study_date=series[0]["study_date"],
            site=series[0].get("site", ""),
            modalities=tuple(sorted({item["modality"] for item in series})),
            series=tuple(item["series"] for item in series),
        )

    def instances(self, study_uid: str) -> list[ObjectRecord]:
        """Return every arrived object of a study, in order of series."""
        query = Query(f"STUDY#{study_uid}", index=INDEX_BY_GROUP)
        return [object_record(item) for item in self._items(query)]

    def instance(self, sop_uid: str) -> ObjectRecord | None:
        """Return the object that holds a SOP Instance UID."""
        pk, _ = keys.claim_key("sop", sop_uid, "")
        holders = [item["holder"]["S"] for item in self._items(Query(pk))]
        return self.object(holders[0]) if holders else None

    def studies(
        self,
        what: str,
        value: str,
        *,
        since: date | None = None,
        until: date | None = None,
        limit: int = 100,
    ) -> list[Study]:
        """Return studies by `modality`, or by a token of `patientid` or `accessionnumber`.

        The date range is of StudyDate; studies without a date are found only without a range.
        """
        low = f"{since:%Y%m%d}" if since else ("0" if until else "")
        high = f"{until:%Y%m%d}~" if until else ("99999999~" if since else "")
        query = Query(keys.find_pk(what, value), low=low, high=high, newest_first=True)
        uids = [item["study"]["S"] for item in self._items(query, limit=limit)]
        found = [self.study(uid) for uid in dict.fromkeys(uids)]
        return [study for study in found if study is not None]

    def studies_between(self, since: date, until: date, *, limit: int = 100) -> list[Study]:
        """Return studies of a range of StudyDates, month by month, latest first."""
        studies: list[Study] = []
        month = until.replace(day=1)
        while month >= since.replace(day=1) and len(studies) < limit:
            studies += self.studies(
                "studydate",
                f"{month:%Y%m}",
                since=since,
                until=until,
                limit=limit - len(studies),
            )
            previous = month.month - 1 or 12
            month = month.replace(year=month.year - (previous == 12), month=previous)
        return studies

    def files_of_sample(self, sample: str, *, sites: Iterable[str] = ()) -> list[ObjectRecord]:
        """Return the read files of a sample, of all sites unless some are named."""
        return [
            object_record(item)
            for item in self._sample_items(sample, sites)
            if item["entity"]["S"] == "object"
        ]

    def runs_of_sample(self, sample: str, *, sites: Iterable[str] = ()) -> list[PipelineRun]:
        """Return the pipeline runs over a sample's reads."""
        return [
            pipeline_run(item)
            for item in self._sample_items(sample, sites)
            if item["entity"]["S"] == "pipeline_run"
        ]

    def files_of_sequencing_run(self, run: str, *, limit: int = 1000) -> list[ObjectRecord]:
        """Return the read files of one sequencing run (`<instrument>_<run>_<flow cell>`)."""
        query = Query(keys.find_pk("run", run))
        return self.objects(item["object_id"]["S"] for item in self._items(query, limit=limit))

    def _partitions(self, states: Collection[State], sites: Iterable[str]) -> Iterator[str]:
        """Yield the partitions of `by_state` for some states, of all sites or those named."""
        for site in tuple(sites) or self.sites():
            for state in states:
                for shard in range(keys.STATE_SHARDS):
                    yield keys.state_pk(state, shard, site)

    def _sample_items(self, sample: str, sites: Iterable[str]) -> Iterator[Mapping[str, Any]]:
        for site in tuple(sites) or self.sites():
            yield from self._items(Query(keys.sample_group(site, sample), index=INDEX_BY_GROUP))

    def _item(self, key: keys.Key) -> Mapping[str, Any] | None:
        answer = self.client.get_item(TableName=self.table, Key=item_key(key), ConsistentRead=True)
        return answer.get("Item")

    def _items(
        self, query: Query, *, limit: int | None = None, table: str = ""
    ) -> Iterator[Mapping[str, Any]]:
        return query_items(self.client, query.arguments(table or self.table), limit=limit)

    def _count(self, query: Query) -> int:
        arguments = query.arguments(self.table) | {"Select": "COUNT"}
        total = 0
        while True:
            answer = self.client.query(**arguments)
            total += answer["Count"]
            if "LastEvaluatedKey" not in answer:
                return total
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
