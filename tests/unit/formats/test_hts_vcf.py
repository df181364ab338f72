"""The rules of VCF, one broken at a time."""

import pytest

from forebay.domain.findings import Finding, ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.formats.hts import HtsFile, inspect_hts

HEADER, RECORD = ReasonCode.VCF_HEADER_MALFORMED, ReasonCode.VCF_RECORD_MALFORMED


def vcf(
    *records: str,
    meta: str = "",
    version: str = "4.3",
    columns: str = "#CHROM POS ID REF ALT QUAL FILTER INFO",
    samples: str = "",
    end: str = "\n",
) -> str:
    names = columns.split() + (["FORMAT", *samples.split()] if samples else [])
    lines = [f"##fileformat=VCFv{version}", *meta.splitlines(), "\t".join(names)]
    lines += ["\t".join(record.split(" ")) for record in records]
    return "\n".join(lines) + end


def inspect(text: str) -> Inspection[HtsFile]:
    return inspect_hts([text.encode()], name="x.vcf", algorithms=())


def first(text: str) -> Finding | None:
    inspection = inspect(text)
    return inspection.findings[0] if inspection.record is None else None


def code(text: str) -> ReasonCode | None:
    finding = first(text)
    return finding.code if finding else None


@pytest.mark.parametrize(
    "meta",
    [
        "##random text",
        "##reference=",
        "no meta line",
        "##fileformat=VCFv4.3",
        '##INFO=<ID=X,Number=1,Type=Int,Description="x">',
        '##INFO=<ID=X,Number=N,Type=Integer,Description="x">',
        "##INFO=<ID=X,Number=1,Type=Integer,Description=two words>",
        "##ALT=<ID=DEL,Description=Deletion>",
        '##INFO=<Number=1,Type=Integer,Description="x",ID=X>',
        '##INFO=<ID=X,Number=1,Type=Integer,Description="x"',
        '##INFO=<ID=X,Number=1,Type=Integer,Description="x>',
        '##INFO=<ID=X,Number=1,Type=Integer,Description="a "b" c">',
        '##INFO=<ID=1X,Number=1,Type=Integer,Description="x">',
        '##INFO=<ID=DP,Number=1,Type=Float,Description="x">',
        '##INFO=<ID=AC,Number=1,Type=Integer,Description="x">',
        '##INFO=<ID=X,Number=P,Type=Integer,Description="x">',
        '##FORMAT=<ID=X,Number=0,Type=Flag,Description="x">',
        '##FORMAT=<ID=PL,Number=A,Type=Integer,Description="x">',
        '##FILTER=<ID=0,Description="x">',
        '##ALT=<ID=DEL1,Description="x">',
        '##ALT=<ID=XYZ:A,Description="x">',
        '##ALT=<ID=DEL:A B,Description="x">',
        '##ALT=<ID=DEL,Number=1,Description="x">',
        "##contig=<length=3>",
        "##contig=<ID=1 A>",
        "##contig=<ID=1,A,length=3>",
        "##contig=<ID=1.*>",
        "##SAMPLE=<ID=1 A>",
        "##PEDIGREE=<Original=G>",
        "##PEDIGREE=<ID=P,Father=a b>",
        "##META=<ID=A,Number=N,Type=Integer,Values=[a]>",
        "##META=<ID=A,Number=1,Type=Integer,Values=a>",
        "##pedigreeDB=<>",
        "##assembly=ftp://8080:8080/x.fa",
    ],
)
def test_malformed_meta_lines_are_refused(meta: str) -> None:
    assert code(vcf("1 1 . A C . . .", meta=meta)) is HEADER


@pytest.mark.parametrize(
    "meta",
    [
        '##INFO=<ID=X,Number=.,Type=String,Description="a \\"b\\", c",Source="s",Version="1">',
        '##ALT=<ID=NON_REF,Description="any other">',
        '##ALT=<ID=DEL:ME:ALU,Description="x">',
        "##contig=<ID=1>\n##contig=<ID=HLA-A*01:01:01:01,length=3503>",
        '##contig=<ID=1,species="Homo sapiens">',
        '##SAMPLE=<ID=S,Genomes="a,b",Description="x">',
        "##META=<ID=A,Type=String,Number=.,Values=[a, b]>",
        "##assembly=http://123.0.1.2:8080/x.fa",
        '##GATKCommandLine=<ID=x,CommandLineOptions="a=<b>">',
        "##date created=today",
    ],
)
def test_meta_lines_as_programs_write_them_are_accepted(meta: str) -> None:
    assert inspect(vcf("1 1 . A C . . .", meta=meta)).verdict is Verdict.VALID


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "##fileformat=VCF v4.3\n#CHROM\n",
        "##fileformat=VCFv4.3\n",
        vcf(columns="#CHROM POSITION ID REF ALT QUAL FILTER INFO"),
        vcf(columns="#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT"),
        vcf(samples="a b a"),
        vcf().replace("\t", " "),
    ],
)
def test_malformed_headers_are_refused(text: str) -> None:
    assert code(text) in (HEADER, ReasonCode.UNSUPPORTED_FORMAT)


@pytest.mark.parametrize(
    "record",
    [
        "1 1 . A C . .",
        "1,2 1 . A C . . .",
        "<1 1 . A C . . .",
        "1 . . A C . . .",
        "1 -1 . A C . . .",
        "1 1 ;a A C . . .",
        "1 1 a;a A C . . .",
        "1 1 . A,C T . . .",
        "1 1 . A R . . .",
        "1 1 . A <DEL>X> . . .",
        "1 1 . A <XYZ:A> . . .",
        "1 1 . A [1:100[ . . .",
        "1 1 . A C -5 . .",
        "1 1 . A C x . .",
        "1 1 . A C . q10;. .",
        "1 1 . A C . ;PASS .",
        "1 1 . A C . q;0 .",
        "1 1 . A C . . DP=-1",
        "1 1 . A C . . DP=1.5",
        "1 1 . A C . . AN=1;AN=1",
        "1 1 . A C . . DB=2",
        "1 1 . A C . . AA=a,b",
        "1 1 . A C . . CIGAR=1MX",
        "1 1 . A C . . MINE=1,2",
        "1 1 . A C . . MINE=-2147483648",
        "1 1 . A C . . MINE=99999999999",
        "1 1 . A C . . MINE=x",
        "1 1 . A C . . CIPOS=1",
        "1 1 . A C . . 1X=1",
    ],
)
def test_malformed_records_are_refused_with_their_line(record: str) -> None:
    meta = '##INFO=<ID=MINE,Number=1,Type=Integer,Description="x">'
    finding = first(vcf("1 1 x G T . . .", record, meta=meta))
    assert finding is not None
    assert finding.code is RECORD
    assert finding.position == "line 5"


@pytest.mark.parametrize(
    "allele",
    ["*", ".", "CT,<DEL>", "<NON_REF>", "<*>", "C[2:5[", "]2:5]C", "C]<ctg>]", "C.", ".C", "acgtn"],
)
def test_every_kind_of_allele_is_accepted(allele: str) -> None:
    assert code(vcf(f"1 1 . A {allele} . . .")) is None


@pytest.mark.parametrize(
    "form, sample",
    [
        ("GT", "0/2"),
        ("GT", "0.5"),
        ("GT", "0/C"),
        ("GT:GQ", "0/1:1:2"),
        ("GT:GQ", "0/1:"),
        ("GQ:GT", "1:0/1"),
        ("GT:GQ:GQ", "0/1:1:1"),
        ("GT::GQ", "0/1:1:1"),
        ("GT:1X", "0/1:1"),
        ("GT:PL", "0/1:1,2"),
        ("GT:PL", "0:1,2,3"),
        ("GT:AD", "0/1:1"),
        ("GT:DS", "0/1:much"),
        ("GT:C", "0/1:ab"),
        (".", "1"),
    ],
)
def test_malformed_samples_are_refused(form: str, sample: str) -> None:
    meta = (
        '##FORMAT=<ID=DS,Number=1,Type=Float,Description="x">\n'
        '##FORMAT=<ID=C,Number=1,Type=Character,Description="x">'
    )
    good = "1 1 x G T . . . GT:PL 0/1:0,10,200"
    assert code(vcf(good, f"1 2 . A C . . . {form} {sample}", meta=meta, samples="s")) is RECORD


@pytest.mark.parametrize(
    "form, sample, alt",
    [
        ("GT:PL", "0/1:1,2,3", "C"),
        ("GT:PL", "0:1,2", "C"),
        ("GT:PL", "0/1/1:1,2,3,4", "C"),
        ("GT:PL", "./.:.", "C"),
        ("GT:PL", ".:1,2,3", "C"),
        ("GT:PL", "0/2:1,2,3,4,5,6", "C,T"),
        ("GT:PL", "0/0:5", "."),
        ("PL", "1,2", "C"),
        ("GT:AD", "0|1:1,.", "C"),
        ("GT:GQ:DP", "0/1", "C"),
        (".", ".", "C"),
    ],
)
def test_samples_of_any_ploidy_are_accepted(form: str, sample: str, alt: str) -> None:
    assert code(vcf(f"1 2 . A {alt} . . . {form} {sample}", samples="s")) is None


def test_a_remembered_shape_does_not_let_another_value_pass() -> None:
    good = "1 1 . A C . . DB GT 0/1"
    assert code(vcf(good, "1 2 . A C . . DB GT 0/3", samples="s")) is RECORD
    assert code(vcf("1 1 . A C . . DB=1", "1 2 . A C . . DB=7")) is RECORD
    meta = (
        '##INFO=<ID=X1,Number=1,Type=String,Description="x">\n'
        '##INFO=<ID=X2,Number=1,Type=Integer,Description="x">'
    )
    assert code(vcf("1 1 . A C . . X1=a", "1 2 . A C . . X2=a", meta=meta)) is RECORD


@pytest.mark.parametrize(
    "records, expected",
    [
        (("1 5 a A C . . .", "1 4 b A C . . ."), ReasonCode.VCF_NOT_SORTED),
        (("1 5 a A C . . .", "2 1 b A C . . .", "1 6 c A C . . ."), ReasonCode.VCF_NOT_SORTED),
        (("1 5 a A C . . .", "1 5 a A C . . ."), ReasonCode.VCF_DUPLICATE),
        (("1 5 a TAT TGT . . .", "1 6 a A G . . ."), ReasonCode.VCF_DUPLICATE),
        (("1 5 a AT AAT,AA . . .", "1 6 a T A . . ."), ReasonCode.VCF_DUPLICATE),
    ],
)
def test_records_out_of_order_or_given_twice_are_refused(
    records: tuple[str, ...], expected: ReasonCode
) -> None:
    assert code(vcf(*records)) is expected


@pytest.mark.parametrize(
    "text",
    [
        vcf("1 5 a A C . . .", "1 5 b A C . . ."),
        vcf("1 5 . A C . . .", "1 5 . A C . . ."),
        vcf("1 5 . M MA . . ."),
        vcf("1 5 . A C . . .", meta="##INFO=<ID=X,Number=1,Type=Integer,Description=x>"),
        vcf("1 5 . . A . . ."),
        vcf("1 5 . A C,G . . AC=1"),
        vcf("1 5 . A C . . .", meta='##FORMAT=<ID=GQ,Number=1,Type=Float,Description="x">'),
        vcf("1 5 . A C . . .", meta='##INFO=<ID=AF,Number=.,Type=Float,Description="x">'),
        vcf("1 5 . A C . . .", version="4.5", end=""),
        vcf("1 5 . A C,A . . ."),
        vcf("1 5 . A C . q10;PASS .", meta='##FILTER=<ID=s50,Description="x">'),
        vcf("1 5 . A C . . .", meta="##contig=<ID=2>"),
    ],
)
def test_what_programs_often_do_is_a_warning(text: str) -> None:
    assert inspect(text).verdict is Verdict.WARNING


def test_a_key_given_twice_is_named() -> None:
    finding = first(vcf("1 5 . A C . . AC=1;DP=2;AC=3"))
    assert finding is not None
    assert finding.found == "AC"


@pytest.mark.parametrize("position,is_known", [(0, True), (9, True), (10, True), (11, False)])
def test_the_end_of_a_contig_is_a_position_of_its_own(position: int, is_known: bool) -> None:
    text = vcf(f"1 {position} . A C . . .", meta="##contig=<ID=1,length=9>")
    assert (inspect(text).verdict is Verdict.VALID) is is_known


def test_text_that_is_cut_off_or_has_blank_lines_is_refused() -> None:
    assert code(vcf("1 5 . A C . . .", end="")) is ReasonCode.VCF_TRUNCATED
    assert code(vcf(end="")) is ReasonCode.VCF_TRUNCATED
    assert code(vcf("1 5 . A C . . .", end="\n\n")) is None
    assert code(vcf("1 5 . A C . . .", "", "1 6 . A C . . .")) is RECORD


@pytest.mark.parametrize(
    "info, is_accepted",
    [
        ("RUS=TTT;RUC=33;RB=100", True),
        ("SVCLAIM=D;RUL=3", True),
        ("SVCLAIM=D", False),
        ("SVCLAIM=JD;RUS=T", False),
        ("RUS=TTT;RUL=2", False),
        ("RN=2;RUS=T", False),
        ("RUS=AT;RB=30;CIRB=1", False),
        ("RUS=AT;RB=30;CIRB=1,-1", False),
        ("RUS=TT;RUC=2.3;RUB=2", False),
        ("RUS=TT;RUC=2;RUB=2,2", True),
    ],
)
def test_tandem_repeats_of_4_4_must_add_up(info: str, is_accepted: bool) -> None:
    text = vcf(f"1 5 . A <CNV:TR> . . SVLEN=10;{info}", version="4.4")
    assert (code(text) is None) is is_accepted


@pytest.mark.parametrize(
    "genotype, sets, is_accepted",
    [("0|0", "a,b", True), ("0/0", ".,.", True), ("0/0", "a,b", False), ("/0", "a", False)],
)
def test_phase_sets_of_4_4_are_for_phased_alleles(
    genotype: str, sets: str, is_accepted: bool
) -> None:
    text = vcf(f"1 5 . A C . . . GT:PSL {genotype}:{sets}", version="4.4", samples="s")
    assert (code(text) is None) is is_accepted


@pytest.mark.parametrize(
    "field", ["9" * 100_000, "1" * 100_000 + "x", "=" * 100_000, "a:" * 50_000, " " * 100_000]
)
@pytest.mark.parametrize("column", range(10))
def test_hostile_fields_are_judged_quickly(field: str, column: int) -> None:
    fields = ["1", "5", ".", "A", "C", ".", ".", ".", "GT", "0/1"]
    fields[column] = field
    inspect(vcf(samples="s") + "\t".join(fields) + "\n")


def test_old_versions_of_vcf_are_unsupported() -> None:
    inspection = inspect("##format=VCFv3.2\n#CHROM\n")
    assert inspection.verdict is Verdict.UNSUPPORTED
