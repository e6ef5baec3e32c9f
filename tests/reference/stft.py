"""Short-time spectra by PyTorch, for tests/test_ops_stft.cpp: writes stft.npz. Run by hand: python3 stft.py"""

import pathlib

import numpy as np
import torch

torch.manual_seed(3)
wave = torch.randn(2, 150, dtype=torch.float64, requires_grad=True)
window = torch.hann_window(24, dtype=torch.float64)
z = torch.stft(wave, 32, 8, 24, window / window.square().sum().sqrt(), center=True, pad_mode="reflect",
               return_complex=True)
weight = torch.randn(2, z.shape[2], z.shape[1], dtype=torch.float64)
magnitude = z.abs().transpose(1, 2)
(magnitude * weight).sum().backward()

out = {
    "wave": wave,
    "spectrum": torch.stack((z.real, z.imag), 1).permute(0, 3, 1, 2),
    "magnitude": magnitude,
    "weight": weight,
    "gradient": wave.grad,
}
np.savez(pathlib.Path(__file__).with_name("stft.npz"), **{k: v.detach().numpy() for k, v in out.items()})
