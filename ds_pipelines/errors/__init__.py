"""The one family of errors: each names the culprit, what was expected and the next step.

A message never holds a data value or a secret: it may end up in an event log, a terminal or a ticket. A class takes
the facts and builds its own sentence, so that raising it anywhere says the same thing.

A module a room; all are imported from here.
"""

from ds_pipelines.errors.asking import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.base import DsPipelinesError as DsPipelinesError
from ds_pipelines.errors.base import listing as listing
from ds_pipelines.errors.caps import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.days import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.engines import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.experiments import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.extract import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.gates import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.gateway import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.lab import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.platform import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.policy import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.release import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.running import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.sample import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.scoring import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.scripts import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.snapshots import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.verdicts import *  # noqa: F403 — every class of the module is meant
from ds_pipelines.errors.watched import *  # noqa: F403 — every class of the module is meant
