"""Every exception Forebay raises.

    ForebayError
    ├── ConfigurationError      a setting is missing or wrong; the deployer must act
    │   └── PolicyError         a policy file is wrong; names the file and the place in it
    ├── MessageError            a queue message is not what the step expects; it dead-letters
    ├── IllegalTransitionError  a bug: the code asked for a state change the design forbids
    └── Trouble                 the world failed; retry, then dead-letter
        ├── ObjectMissingError  the object version is not (yet, or any more) in storage
        ├── CopyMismatchError   a copy's stored checksum differs from its source's
        ├── DamagedBytesError   what was read contradicts what was verified before
        └── StaleRecordError    another worker moved the record first; read again

Bad *input* is not here: it is a result (`domain.findings.Finding`) that is stored, never raised
across a service boundary.
"""


class ForebayError(Exception):
    """Base of all errors Forebay raises on purpose."""


class ConfigurationError(ForebayError):
    """A setting is missing or malformed."""


class PolicyError(ConfigurationError):
    """A policy file does not say what it must."""


class MessageError(ForebayError):
    """A message is not in the shape this step was built for."""


class IllegalTransitionError(ForebayError):
    """A state change outside the state machine was requested."""


class Trouble(ForebayError):
    """Something outside failed; the same call may succeed later."""


class ObjectMissingError(Trouble):
    """The object version named by the catalog is not in storage."""


class CopyMismatchError(Trouble):
    """The stored checksum of a copy is not that of its source."""


class DamagedBytesError(Trouble):
    """Bytes that were read are not those that were verified; nothing may be judged by them."""


class StaleRecordError(Trouble):
    """The record changed between read and write."""
