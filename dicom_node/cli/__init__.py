"""The command line: ``dicom-node COMMAND``. One module a group of commands, imported when it is called."""

from dicom_node.cli.app import main

__all__ = ["main"]
