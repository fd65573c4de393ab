"""Files with custody: the spool of what is being received, the objects that are kept, and the journal beside them."""
