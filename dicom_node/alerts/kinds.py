"""The kinds of channel by the ``type`` they have in the configuration."""

from collections.abc import Mapping

from dicom_node.alerts.channels import Channel
from dicom_node.alerts.folder import FolderChannel
from dicom_node.alerts.log import LogChannel
from dicom_node.alerts.smtp import SmtpChannel
from dicom_node.alerts.webhook import WebhookChannel

CHANNEL_KINDS: Mapping[str, type[Channel]] = {
    "smtp": SmtpChannel,
    "webhook": WebhookChannel,
    "log": LogChannel,
    "folder": FolderChannel,
}
