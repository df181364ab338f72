"""What policy says: classes, exceptions, and the one function that decides.

Read in this order: `storage_classes` (what S3's storage classes cost in time and minimums),
`classes` (the language of `policies/`), `exceptions` (holds, pins and the like), `decision` (what
follows for one object), `lifecycle` (the same as bucket rules), `pricing` (what it costs).
"""
