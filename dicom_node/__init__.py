"""A DICOM node that receives stereotactic breast biopsy exams and warns before they stop counting."""

__version__ = "0.1.0"
