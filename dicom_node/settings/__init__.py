"""The configuration: one TOML file with the environment over it, checked as a whole, given on as plain values."""

from dicom_node.settings.certificates import certificates_in, check_certificates
from dicom_node.settings.edit import replace_text, with_day
from dicom_node.settings.load import Loaded, Origins, find_config, load_settings, load_text, read_text
from dicom_node.settings.model import Settings
from dicom_node.settings.secrets import read_secret
from dicom_node.settings.show import show

__all__ = [
    "Loaded",
    "Origins",
    "Settings",
    "certificates_in",
    "check_certificates",
    "find_config",
    "load_settings",
    "load_text",
    "read_secret",
    "read_text",
    "replace_text",
    "show",
    "with_day",
]
