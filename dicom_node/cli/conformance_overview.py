"""The beginning of the conformance statement: what the node does, who this is for, and how it is built (N.1 to N.4)."""

from dicom_node import __version__
from dicom_node.accreditation.signals import Role
from dicom_node.cli.conformance_text import Facts, name_of, table
from dicom_node.dicom.uids import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, StorageSopClass
from dicom_node.dimse.contexts import FIND_MODELS, GET_MODELS, MESSAGE_SYNTAXES, MOVE_MODELS, PERMISSIONS

_FUNCTIONS = {
    Role.PRIMARY: "counts as an image of an exam",
    Role.EVIDENCE: "dose report: tells unit and day",
    Role.CONTROL: "may reject other instances",
    Role.SECONDARY: "kept and found",
}
_ORDER = (Role.PRIMARY, Role.EVIDENCE, Role.CONTROL, Role.SECONDARY)

NOT_BUILT = (
    "Modality Performed Procedure Step (MPPS)",
    "Instance Availability Notification",
    "Modality Worklist and Unified Procedure Step",
    "Print",
    "media interchange (DICOMDIR)",
    "DICOMweb",
)


def overview(facts: Facts) -> list[str]:
    """Say in tables what is supported (N.1)."""
    of = f", as configured for {facts.facility}" if facts.facility else ", with the defaults of its configuration"
    return [
        f"# DICOM conformance statement of dicom_node {__version__}",
        (
            f"Written by `dicom-node conformance` from the tables that the program itself works by{of}. The chapters "
            "are those of PS3.2 annex N."
        ),
        "## N.1 Overview",
        (
            "dicom_node is an archive for units of stereotactic breast biopsy. It stores instances as they come, "
            "answers queries by unit and acquisition date, sends what it holds to those who may have it, commits to "
            "its safekeeping, and warns people before a unit runs out of exams that count toward accreditation."
        ),
        "### N.1.1 Content and transfer",
        (
            f"Every storage SOP class of the table, {len(STORAGE_SOP_CLASSES)} in all, is accepted in each transfer "
            "syntax of table N.1.2. The node is SCP of C-STORE, and SCU of the C-STORE sub-operations of C-GET and "
            "C-MOVE and of the command `send`. An instance is sent in the transfer syntax it was received in, and "
            "in no other."
        ),
        table(
            ("SOP class", "UID", "SCU", "SCP", "function"),
            [(each.name, each.uid, "yes", "yes", _FUNCTIONS[each.role]) for each in _classes()],
        ),
        _private(facts),
        (
            "Table N.1.2: transfer syntaxes of storage. Of those proposed in a presentation context, the first in "
            "this order is accepted; a SOP class that is proposed again gets one that it does not have yet, where "
            "there is one. Where the peer is SCP alone, for C-GET, its own order counts, but explicit VR before "
            "implicit."
        ),
        table(("transfer syntax", "UID"), [(name_of(uid), uid) for uid in TRANSFER_SYNTAXES]),
        "### N.1.2 Other services",
        table(
            ("SOP class", "UID", "SCU", "SCP", "transfer syntaxes"),
            [
                (name_of(uid), uid, _scu(uid), "yes", ", ".join(name_of(syntax) for syntax in MESSAGE_SYNTAXES))
                for uid in PERMISSIONS
            ],
        ),
        (
            "An SCU of verification, query and retrieve is a person at the command line (`dicom-node echo`, `find`, "
            "`get`, `move`, `send`); by itself the node opens associations for C-MOVE and for reports of storage "
            "commitment alone."
        ),
        f"Not built: {', '.join(NOT_BUILT)}.",
    ]


def _classes() -> list[StorageSopClass]:
    return sorted(STORAGE_SOP_CLASSES.values(), key=lambda each: (_ORDER.index(each.role), each.name))


def _private(facts: Facts) -> str:
    uids = facts.node.private_sop_classes
    if uids:
        return f"Beside them these of the site, kept and found: {', '.join(uids)}."
    return "SOP classes outside the standard are accepted when the configuration lists them; none is listed."


def _scu(uid: str) -> str:
    return "yes" if PERMISSIONS[uid] in {"echo", "find", "get", "move"} else "no"


def introduction(_facts: Facts) -> list[str]:
    """Say for whom this is, and what it does not promise (N.3)."""
    return [
        "## N.3 Introduction",
        (
            "For those who connect devices, archives and workstations to the node. It is to be read with the parts "
            "of the standard that it names."
        ),
        (
            "Two conformance statements that agree are a beginning. Whether two products understand each other is "
            "to be tried: `dicom-node doctor` looks at a new node, and [operations.md](operations.md) says what "
            "refusals mean."
        ),
        (
            "The rules of accreditation that the node follows are not a part of DICOM. What an instance counts "
            "toward is told by its own keys in group 0079 (N.5.2)."
        ),
    ]


def model(_facts: Facts) -> list[str]:
    """Say what application entities there are (N.4)."""
    models = (("C-FIND", FIND_MODELS), ("C-MOVE", MOVE_MODELS), ("C-GET", GET_MODELS))
    roles = "; ".join(f"{name}: {' and '.join(name_of(uid) for uid in uids)}" for name, uids in models)
    return [
        "## N.4 Implementation model",
        (
            "There is one application entity. It may be called by several AE titles, which serve the same, and "
            f"calls others by the first of them, or by the one that they had called. Information models: {roles}."
        ),
        (
            "What it holds is kept as PS3.10 files in a folder, named by the SHA-256 of the data set, and indexed "
            "in a database that can be made again from them."
        ),
        "An instance is for the rules of the node one of these:",
        table(("function", "meaning"), [(_FUNCTIONS[role], _meaning(role)) for role in _ORDER]),
        (
            "The header may say more than the SOP class: a secondary capture that is an original mammogram counts "
            "as an image, and so does a CT image of modality MG."
        ),
    ]


def _meaning(role: Role) -> str:
    return {
        Role.PRIMARY: "an acquired image: may make an exam count",
        Role.EVIDENCE: "a radiation dose report: makes nothing count by itself",
        Role.CONTROL: "a key object selection, such as one that rejects images for quality",
        Role.SECONDARY: "counts toward nothing",
    }[role]
