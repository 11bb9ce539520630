"""LoRAs that a request names."""

from dataclasses import dataclass

from orchestrator.params.violations import Violations

MAX_LORAS = 3
MAX_LORA_WEIGHT = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraParams:
    """A LoRA of the family, and how much of it.

    Attributes:
        name: as the family lists it.
        weight: -4 to 4; 1 as it was trained, 0 for none of it. None for the LoRA's own.
    """

    name: str = ""
    weight: float | None = None


def validate_loras(loras: tuple[LoraParams, ...], violations: Violations) -> None:
    """Note what is wrong with them, whatever the family has."""
    violations.check("loras", len(loras) <= MAX_LORAS, f"names {len(loras)}; at most {MAX_LORAS} are accepted")
    names = [each.name for each in loras]
    for number, each in enumerate(loras):
        violations.check(f"loras[{number}].name", bool(each.name), "is empty; name a LoRA of the family")
        twice = each.name in names[:number]
        violations.check(f"loras[{number}].name", not twice, "names the same LoRA again; give it one weight")
        violations.within(f"loras[{number}].weight", each.weight, -MAX_LORA_WEIGHT, MAX_LORA_WEIGHT)
