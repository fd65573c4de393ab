"""Verification and storage in the conformance statement (N.5.1)."""

from dicom_node.cli.conformance_text import Facts, table
from dicom_node.dicom.part10 import IMPLEMENTATION_CLASS_UID, PROVENANCE_UID

_DUPLICATES = (
    ("the same data set again", "acknowledged; kept once"),
    (
        "another data set under the same SOP Instance UID",
        "acknowledged; both are kept, the first is the one that is found and sent until a person decides otherwise",
    ),
)

_FILE_META = (
    ("(0002,0002), (0002,0003), (0002,0010)", "as the instance came"),
    ("(0002,0012)", IMPLEMENTATION_CLASS_UID),
    ("(0002,0013)", "the Implementation Version Name of N.7.1"),
    ("(0002,0016)", "the AE title of the sender"),
    ("(0002,0018)", "the AE title that it had called"),
    ("(0002,0100)", f"{PROVENANCE_UID}, private: the next element is the node's"),
    (
        "(0002,0102)",
        (
            "JSON, private: `received_at` (UTC), `calling_ae`, `called_ae`, `peer_address`, `implementation_uid` "
            "and `implementation_version` of the sender, `size` and `sha256` of the data set"
        ),
    ),
)


def services(facts: Facts) -> list[str]:
    """Say how instances are stored, and what becomes of them."""
    return [
        "## N.5 Services",
        "### N.5.1 Verification and storage",
        "Verification, for whoever is listed with `echo`: a C-ECHO is answered with 0x0000.",
        "Storage, PS3.4 annex B:",
        table(
            ("", "the node"),
            [
                ("level of storage (B.4.1)", "2, full: every attribute is kept, private ones too"),
                (
                    "level of digital signatures (B.4.1)",
                    "3: they stay whole, as the bytes of the data set do; they are not verified",
                ),
                ("coercion of attributes", "none; no warning is ever answered"),
                ("transcoding", "none"),
                (
                    "success means",
                    "the instance is on disk, flushed, and every query finds it; a power cut does not take it",
                ),
                ("the boundaries of an association", "mean nothing; each instance is answered for itself"),
                ("retention", "without limit: the node deletes no stored instance"),
                (
                    "largest data set",
                    (
                        f"{facts.node.limits.max_data_set >> 20:,} MiB (`node.limits.max_data_set`); a longer one is "
                        "answered 0xA700"
                    ),
                ),
                (
                    "space that stays free",
                    f"{facts.min_free >> 20:,} MiB (`storage.min_free`); below it, 0xA700",
                ),
                ("Priority (0000,0700)", "is not regarded"),
                ("Move Originator (0000,1030), (0000,1031)", "is not regarded"),
                (
                    "who may store",
                    (
                        "whoever is listed with `store`, from its addresses; units, attachments and senders have it "
                        "unless the configuration says otherwise"
                    ),
                ),
            ],
        ),
        (
            "An instance whose unit, day or portion cannot be told is stored all the same, and counts toward "
            "nothing until a person decides."
        ),
        table(("what comes", "what becomes of it"), _DUPLICATES),
        (
            "A stored file has a preamble of zeros and this file meta information (PS3.10 section 7.1). What is "
            "sent to others is the data set, without it."
        ),
        table(("element", "value"), _FILE_META),
    ]
