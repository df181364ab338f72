"""Small files of every kind, made here from the standards, from which fuzzing starts."""

import gzip
import hashlib
import struct
import zlib
from typing import Final

BGZF_EOF: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
CRAM_EOF: Final = bytes.fromhex(
    "0f000000ffffffff0fe0454f46000000000100 05bdd94f 0001000606010001000100 ee63014b"
)
LINES: Final = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:248956422\n@RG\tID:a\tSM:s1\n"
ALIGNED: Final = "r1\t0\tchr1\t9\t60\t4M\t*\t0\t0\tACGT\tIIII\tNM:i:0\tRG:Z:a\tXB:B:c,1,-2\n"
VARIANTS: Final = (
    "##fileformat=VCFv4.3\n##contig=<ID=1,length=9>\n"
    '##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\n"
    "1\t2\trs1\tA\tC,<DEL>\t9.5\tPASS\tDP=7\tGT\t0/1\n1\t4\t.\tAC\tA\t.\tq\t.\tGT:XX\t1|.:x\n"
)
READS: Final = (
    b"@A00001:8:HXXXXDSXX:1:1101:1000:2000 1:N:0:ACGT\nACGTN\n+\nFFF:#\n"
    b"@A00001:8:HXXXXDSXX:1:1101:1000:2001 1:N:0:ACGT\nACG\n+\nFFF\n"
)


def element(tag: int, vr: bytes, value: bytes, *, order: str = "<", explicit: bool = True) -> bytes:
    """Return a DICOM element (PS3.5 section 7.1)."""
    value += b"\0" * (len(value) % 2)
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + struct.pack("<I", len(value)) + value
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return head + vr + b"\0\0" + struct.pack(f"{order}I", len(value)) + value
    return head + vr + struct.pack(f"{order}H", len(value)) + value


def dicom(syntax: str) -> bytes:
    """Return a DICOM file of a few elements in a transfer syntax."""
    big, explicit = syntax.endswith(".2.2"), syntax != "1.2.840.10008.1.2"
    order = ">" if big else "<"

    def one(tag: int, vr: bytes, value: bytes) -> bytes:
        return element(tag, vr, value, order=order, explicit=explicit)

    item_head = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, 16)
    code = item_head + one(0x00080100, b"SH", b"T-1 ABCD") if explicit else item_head[:4]
    if not explicit:
        code += struct.pack("<I", 16) + one(0x00080100, b"SH", b"T-1 ABCD")
    short = struct.Struct(f"{order}H").pack
    body = (
        one(0x00080005, b"CS", b"ISO_IR 100")
        + one(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.2")
        + one(0x00080018, b"UI", b"1.2.3.4")
        + one(0x00080020, b"DA", b"20240229")
        + one(0x00081032, b"SQ", code)
        + one(0x00100010, b"PN", b"M\xfcller^Jos\xe9")
        + one(0x00180050, b"DS", b"2.5")
        + one(0x0020000D, b"UI", b"1.2.3")
        + one(0x0020000E, b"UI", b"1.2.3.5")
        + one(0x00200013, b"IS", b"7")
        + one(0x00280002, b"US", short(1))
        + one(0x00280004, b"CS", b"MONOCHROME2")
        + one(0x00280010, b"US", short(4))
        + one(0x00280011, b"US", short(4))
        + one(0x00280100, b"US", short(8))
    )
    if ".4." in syntax:
        fragment = struct.pack("<HHI", 0xFFFE, 0xE000, 6) + b"pixels"
        table = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
        body += struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + table + 2 * fragment
        body += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    else:
        body += one(0x7FE00010, b"OW", bytes(range(16)))
    if syntax.endswith("1.99"):
        packer = zlib.compressobj(wbits=-15)
        body = packer.compress(body) + packer.flush()
    meta = element(0x00020002, b"UI", b"1.2.840.10008.5.1.4.1.1.2")
    meta += element(0x00020003, b"UI", b"1.2.3.4") + element(0x00020010, b"UI", syntax.encode())
    return (
        bytes(128)
        + b"DICM"
        + element(0x00020000, b"UL", struct.pack("<I", len(meta)))
        + meta
        + body
    )


DICOM_SYNTAXES: Final = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.90",
)


def bgzf(data: bytes, *, block: int = 300) -> bytes:
    """Return data in BGZF blocks (SAM specification, section 4.1)."""
    blocks = []
    for start in range(0, len(data), block):
        text = data[start : start + block]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = packer.compress(text) + packer.flush()
        head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(packed) + 25)
        blocks.append(head + packed + struct.pack("<II", zlib.crc32(text), len(text)))
    return b"".join(blocks) + BGZF_EOF


def gzipped(data: bytes) -> bytes:
    """Return data as two gzip members."""
    half = len(data) // 2
    return gzip.compress(data[:half], mtime=0) + gzip.compress(data[half:], mtime=0)


def bam() -> bytes:
    """Return what a BAM holds inside its BGZF blocks."""
    text = LINES.encode()
    body = struct.pack("<iiBBHHHiiii", 0, 9, 3, 60, 0, 1, 0, 4, -1, -1, 0)
    body += b"r1\0" + struct.pack("<I", 4 << 4) + b"\x12\x48" + b"\x28" * 4 + b"NMC\0RGZa\0"
    record = struct.pack("<i", len(body)) + body
    head = b"BAM\1" + struct.pack("<i", len(text)) + text + struct.pack("<i", 1)
    return head + struct.pack("<i", 5) + b"chr1\0" + struct.pack("<i", 248956422) + record * 3


def bai() -> bytes:
    """Return an index of a BAM with one reference and three records."""
    chunk = struct.pack("<IiQQ", 4681, 1, 99 << 16, 200 << 16)
    counts = struct.pack("<IiQQQQ", 37450, 2, 99 << 16, 200 << 16, 3, 0)
    windows = struct.pack("<iQ", 1, 99 << 16)
    return b"BAI\1" + struct.pack("<ii", 1, 2) + chunk + counts + windows + bytes(8)


CRAI: Final = b"0\t24\t19858\t444\t194\t3737\n-1\t0\t1\t4375\t194\t37\n"


def bcf() -> bytes:
    """Return what a BCF holds inside its BGZF blocks."""
    header = VARIANTS.partition("1\t2\t")[0].replace("\tFORMAT\ts1", "").encode() + b"\0"
    shared = struct.pack("<iiifII", 0, 1, 1, 1.0, 2 << 16, 0) + b"\x07\x17A\x17C\x00"
    record = struct.pack("<II", len(shared), 0) + shared
    return b"BCF\2\2" + struct.pack("<I", len(header)) + header + record * 3


def cram_block(method: int, kind: int, data: bytes, raw_bytes: int) -> bytes:
    """Return a block of CRAM 3.0 with its checksum (section 8)."""
    sizes = b"".join(struct.pack(">H", 0x8000 | size) for size in (len(data), raw_bytes))
    return _summed(bytes([method, kind, 0]) + sizes + data)


def cram_container(blocks: bytes, *, records: int, count: int, landmarks: bytes) -> bytes:
    """Return a container of CRAM 3.0 with its checksum (section 7)."""
    head = struct.pack("<i", len(blocks)) + bytes([0, 0, 0, records, 0, 0, count]) + landmarks
    return _summed(head) + blocks


def cram(blocks: bytes) -> bytes:
    """Return a CRAM whose one container of records holds the given blocks."""
    text = struct.pack("<i", len(LINES)) + LINES.encode()
    header = cram_block(1, 0, gzip.compress(text, mtime=0), len(text))
    return (
        b"CRAM\3\0"
        + bytes(20)
        + cram_container(header, records=0, count=1, landmarks=b"\0")
        + cram_container(blocks, records=2, count=4, landmarks=b"\1\x11")
        + CRAM_EOF
    )


def cram_blocks() -> bytes:
    """Return a compression header, a slice header, and two blocks of it."""
    slice_header = bytes([0, 5, 4, 2, 0, 2, 1, 1]) + bytes(17)
    return (
        cram_block(0, 1, b"\x01\0\x01\0\x01\0", 6)
        + cram_block(0, 2, slice_header, len(slice_header))
        + cram_block(0, 5, b"core", 4)
        + cram_block(4, 4, b"packed", 50)
    )


def _summed(data: bytes) -> bytes:
    return data + struct.pack("<I", zlib.crc32(data))


RUN_INFO: Final = b"""<?xml version="1.0"?>
<RunInfo Version="6"><Run Id="240229_A00001_0008_AHXXXXDSXX" Number="8">
<Flowcell>HXXXXDSXX</Flowcell><Instrument>A00001</Instrument><Date>2/29/2024</Date>
<Reads><Read Number="1" NumCycles="151" IsIndexedRead="N"/>
<Read Number="2" NumCycles="8" IsIndexedRead="Y"/></Reads>
<FlowcellLayout LaneCount="2" SurfaceCount="2" SwathCount="4" TileCount="88"/></Run></RunInfo>
"""
RUN_PARAMETERS: Final = b"""<?xml version="1.0"?>
<RunParameters><RunId>240229_A00001_0008_AHX</RunId>
<InstrumentType>NovaSeqXPlus</InstrumentType><Application>NovaSeq Control Software</Application>
<ApplicationVersion>1.3</ApplicationVersion><RtaVersion>v4</RtaVersion></RunParameters>
"""
_SHEET_2: Final = b"""[Header]
FileFormatVersion,2

[BCLConvert_Settings]
AdapterRead1,ACGT

[BCLConvert_Data]
Lane,Sample_ID,index,index2
1,s1,ACGT,TTTT
2,s2,CCGT,
"""
_SHEET_1: Final = b"""[Header],,
IEMFileVersion,4,
[Reads],,
151,,
[Data],,
Sample_ID,Sample_Name,index
"a",b,A
"""
SHEETS: Final = (_SHEET_2, _SHEET_1)
TILE_METRICS: Final = b"\x02\x0a" + struct.pack("<HHHf", 1, 1101, 100, 5.0) * 2

_MD5: Final = hashlib.md5(b"x", usedforsecurity=False).hexdigest().encode()
_SHA256: Final = hashlib.sha256(b"x").hexdigest().encode()
MANIFESTS: Final = (
    _MD5 + b"  a.fastq.gz\n" + _MD5 + b" *b\n\\" + _MD5 + b"  c\\nd\n",
    b"SHA256 (a b) = " + _SHA256 + b"\r\n",
    b"\xef\xbb\xbf# made by\n" + _SHA256 + b"\n",
    b'{"files": [{"path": "a", "md5": "' + _MD5 + b'", "size": 1}]}',
    b'{"a/b": {"checksums": [{"type": "md5", "checksum": "' + _MD5 + b'"}]}}',
    b"id\tfilename\tmd5\tsize\nx\ta.bam\t" + _MD5 + b"\t1\n",
    b"%%%% HASHDEEP-1.0\n%%%% size,md5,filename\n1," + _MD5 + b",./a\n",
    b"nFhbFsXp/bl46+KsxMKgWw==  a\n",
)
BAG: Final = (
    b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
    _MD5 + b"  data/a\n",
    b"Payload-Oxum: 1.1\nBagging-Date: 2024-02-29\nExternal-Description: a\n  b\n",
    b"https://example.org/a 1 data/a\n",
)
