"""What counts as a copy that was made and not recorded."""

from forebay.domain.findings import ReasonCode
from forebay.domain.reconciliation import is_half_copied
from forebay.domain.states import State
from forebay.names import Zone
from tests.unit.fakes import any_finding, any_record


def test_copy_aside_that_no_record_names_is_half_copied_unless_damage_is_known() -> None:
    refused = any_record(state=State.QUARANTINED, finding=any_finding())
    damage = any_finding(code=ReasonCode.STORED_BYTES_CHANGED)
    damaged = any_record(state=State.QUARANTINED, finding=damage)

    assert is_half_copied(refused, Zone.QUARANTINE)
    assert not is_half_copied(damaged, Zone.QUARANTINE)
