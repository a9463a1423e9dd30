"""A registry that can be made like any that our users have, and wrong on purpose. It shares nothing with verifier.oci, so that a misunderstanding shows.

with simulated(Switches(referrers=False)) as registry:
    registry.host, registry.requests, registry.switches

`switches` says how it behaves, each with the place where that was seen; `profiles` names the combinations that registries are known by.
"""

from tests.simulators.registry.serve import simulated
from tests.simulators.registry.state import INDEX, MANIFEST, SimulatedRegistry
from tests.simulators.registry.switches import Switches

__all__ = ["INDEX", "MANIFEST", "SimulatedRegistry", "Switches", "simulated"]
