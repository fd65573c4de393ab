"""Action and event information of storage commitment, against pydicom's reading and writing of them."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.dicom.commitment import LARGEST, FailureReason, Reference, Report, Request, read_request, write_report
from dicom_node.dicom.identifiers import encoding_of
from dicom_node.errors import InvalidActionError
from tests.factories import encode, item, new_uid, put
from tests.raw_peer import MAMMOGRAM

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian]


def information(transaction_uid: str | None = "2.25.9", *uids: str) -> Dataset:
    ds = Dataset()
    if transaction_uid is not None:
        put(ds, "TransactionUID", transaction_uid)
    ds.ReferencedSOPSequence = [item(ReferencedSOPClassUID=MAMMOGRAM, ReferencedSOPInstanceUID=uid) for uid in uids]
    return ds


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_request_is_read(syntax: str) -> None:
    ds = information("2.25.9", "2.25.1", "2.25.22")
    ds.StorageMediaFileSetID = "DISC"
    found = read_request(encode(ds, syntax), encoding_of(syntax))
    assert found == Request("2.25.9", (Reference(MAMMOGRAM, "2.25.1"), Reference(MAMMOGRAM, "2.25.22")))


def test_five_thousand_instances_fit_easily() -> None:
    syntax = ImplicitVRLittleEndian
    data = encode(information(new_uid(), *(f"1.2.826.0.1.3680043.10.543.{10**30 + n}" for n in range(5000))), syntax)
    assert len(data) < 0.65 * LARGEST
    assert len(read_request(data, encoding_of(syntax)).references) == 5000


@pytest.mark.parametrize(
    ("ds", "words"),
    [
        (information(None, "2.25.1"), "Transaction UID"),
        (information("no.uid", "2.25.1"), "Transaction UID"),
        (information("2.25.9"), "Referenced SOP Sequence"),
        (information("2.25.9", ""), "a referenced SOP class"),
        (information("2.25.9", "2.25.1 OR 1"), "a referenced SOP class"),
    ],
)
def test_what_lacks_something_is_refused_in_words(ds: Dataset, words: str) -> None:
    with pytest.raises(InvalidActionError, match=words) as caught:
        read_request(encode(ds, ImplicitVRLittleEndian), encoding_of(ImplicitVRLittleEndian))
    assert len(str(caught.value)) <= 64


@given(st.data())
def test_what_is_cut_short_or_changed_is_read_or_refused(data: st.DataObject) -> None:
    whole = encode(information("2.25.9", "2.25.1", "2.25.22"), ExplicitVRLittleEndian)
    at, byte = data.draw(st.integers(0, len(whole))), data.draw(st.binary(max_size=3))
    for broken in (whole[:at], whole[:at] + byte + whole[at + len(byte) :]):
        try:
            read_request(broken, encoding_of(ExplicitVRLittleEndian))
        except InvalidActionError:
            continue


def read(data: bytes) -> Dataset:
    return dcmread(BytesIO(data), force=True)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_report_names_the_held_and_the_failed(syntax: str) -> None:
    held, failed = Reference(MAMMOGRAM, "2.25.1"), Reference(MAMMOGRAM, "2.25.22")
    report = Report("2.25.9", [held], [(failed, FailureReason.NO_SUCH_OBJECT_INSTANCE)])
    ds = read(write_report(report, encoding_of(syntax), retrieve_ae="SBB_NODE"))
    assert report.event_type == 2
    assert (ds.TransactionUID, ds.RetrieveAETitle) == ("2.25.9", "SBB_NODE")
    assert [(each.ReferencedSOPClassUID, each.ReferencedSOPInstanceUID) for each in ds.ReferencedSOPSequence] == [held]
    (each,) = ds.FailedSOPSequence
    assert (each.ReferencedSOPClassUID, each.ReferencedSOPInstanceUID, each.FailureReason) == (*failed, 0x0112)
    assert [element.tag for element in ds] == sorted(element.tag for element in ds)


def test_a_report_has_no_empty_sequence() -> None:
    held = Reference(MAMMOGRAM, "2.25.1")
    implicit = encoding_of(ImplicitVRLittleEndian)
    good, bad = Report("2.25.9", [held], []), Report("2.25.9", [], [(held, FailureReason.PROCESSING_FAILURE)])
    assert (good.event_type, bad.event_type) == (1, 2)
    assert "FailedSOPSequence" not in read(write_report(good, implicit, retrieve_ae="N"))
    assert "ReferencedSOPSequence" not in read(write_report(bad, implicit, retrieve_ae="N"))
