"""Which genome assembly a list of reference sequences comes from."""

from collections.abc import Iterable
from typing import Final

from forebay.domain.alignments import Reference

__all__ = ["guess_assembly"]

_HUMAN: Final = (*map(str, range(1, 23)), "X", "Y", "M")
_MOUSE: Final = (*map(str, range(1, 20)), "X", "Y", "M")

# Lengths of the chromosomes in the order of the names above (NCBI assembly reports).
_ASSEMBLIES: Final = {
    "NCBI36": (
        _HUMAN,
        (
            "247249719 242951149 199501827 191273063 180857866 170899992 158821424 146274826"
            " 140273252 135374737 134452384 132349534 114142980 106368585 100338915 88827254"
            " 78774742 76117153 63811651 62435964 46944323 49691432 154913754 57772954 16571"
        ),
    ),
    "GRCh37": (
        _HUMAN,
        (
            "249250621 243199373 198022430 191154276 180915260 171115067 159138663 146364022"
            " 141213431 135534747 135006516 133851895 115169878 107349540 102531392 90354753"
            " 81195210 78077248 59128983 63025520 48129895 51304566 155270560 59373566 16569"
        ),
    ),
    "GRCh38": (
        _HUMAN,
        (
            "248956422 242193529 198295559 190214555 181538259 170805979 159345973 145138636"
            " 138394717 133797422 135086622 133275309 114364328 107043718 101991189 90338345"
            " 83257441 80373285 58617616 64444167 46709983 50818468 156040895 57227415 16569"
        ),
    ),
    "T2T-CHM13v2.0": (
        _HUMAN,
        (
            "248387328 242696752 201105948 193574945 182045439 172126628 160567428 146259331"
            " 150617247 134758134 135127769 133324548 113566686 101161492 99753195 96330374"
            " 84276897 80542538 61707364 66210255 45090682 51324926 154259566 62460029 16569"
        ),
    ),
    "NCBIM37": (
        _MOUSE,
        (
            "197195432 181748087 159599783 155630120 152537259 149517037 152524553 131738871"
            " 124076172 129993255 121843856 121257530 120284312 125194864 103494974 98319150"
            " 95272651 90772031 61342430 166650296 15902555 16299"
        ),
    ),
    "GRCm38": (
        _MOUSE,
        (
            "195471971 182113224 160039680 156508116 151834684 149736546 145441459 129401213"
            " 124595110 130694993 122082543 120129022 120421639 124902244 104043685 98207768"
            " 94987271 90702639 61431566 171031299 91744698 16299"
        ),
    ),
    "GRCm39": (
        _MOUSE,
        (
            "195154279 181755017 159745316 156860686 151758149 149588044 144995196 130127694"
            " 124359700 130530862 121973369 120092757 120883175 125139656 104073951 98008968"
            " 95294699 90720763 61420004 169476592 91455967 16299"
        ),
    ),
}
_LENGTHS: Final = {
    assembly: dict(zip(names, map(int, lengths.split()), strict=True))
    for assembly, (names, lengths) in _ASSEMBLIES.items()
}
_UCSC_NAMES: Final = {"GRCh37": "hg19"}


def guess_assembly(references: Iterable[Reference]) -> str:
    """Return the only assembly whose chromosomes have these lengths, or an empty text.

    The mitochondrion does not count: several assemblies share it, and hg19 has another one than
    GRCh37. Chromosomes named `chr1`, … with the lengths of GRCh37 are called hg19.
    """
    found: dict[str, int] = {}
    has_prefix = False
    for reference in references:
        name = reference.name.removeprefix("chr")
        if name in _LENGTHS["GRCh38"] and name != "M":
            found[name] = reference.length
            has_prefix |= name != reference.name
    fitting = [
        assembly
        for assembly, lengths in _LENGTHS.items()
        if found and all(lengths.get(name) == length for name, length in found.items())
    ]
    if len(fitting) != 1:
        return ""
    return _UCSC_NAMES.get(fitting[0], fitting[0]) if has_prefix else fitting[0]
