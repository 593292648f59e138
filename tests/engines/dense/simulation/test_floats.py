"""Oracles: torch's own conversion to float8, and the list of E2M1's values."""

import torch

from bitloss.engines.dense.simulation.floats import power_of_two, round_to_e2m1, round_to_e4m3


def numbers() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(100_000, generator=generator)
    wide *= torch.exp(6 * torch.randn(100_000, generator=generator))
    special = torch.tensor([0.0, -0.0, 448.0, 464.0, 1e30, -torch.inf, 2.0**-9, 2.0**-10, 1e-30])
    return torch.cat([wide, torch.arange(-4096, 4096) / 64, torch.arange(-64, 64) / 1024, special])


def test_e4m3_is_torchs_float8_with_saturation():
    x = numbers()
    torch.testing.assert_close(
        round_to_e4m3(x), x.clamp(-448, 448).to(torch.float8_e4m3fn).float(), rtol=0, atol=0
    )
    assert round_to_e4m3(torch.tensor([torch.nan])).isnan().all()


def test_e2m1_is_the_nearest_of_its_values_with_ties_to_even():
    values = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    x = numbers()
    distance = (x.abs().clamp(max=6)[:, None] - values).abs()
    # Codes are in the values' order: of two that are equally near, the even one.
    tied = distance == distance.amin(1, keepdim=True)
    even = torch.arange(8) % 2 == 0
    code = torch.where(tied.sum(1) > 1, (tied & even).int().argmax(1), tied.int().argmax(1))
    expected = torch.copysign(values[code], x)
    torch.testing.assert_close(round_to_e2m1(x), expected, rtol=0, atol=0)


def test_powers_of_two():
    x = torch.tensor([1.0, 1.99, 2.0, -3.0, 0.3, 0.0])
    assert power_of_two(x).tolist() == [1.0, 1.0, 2.0, 2.0, 0.25, 0.0]
