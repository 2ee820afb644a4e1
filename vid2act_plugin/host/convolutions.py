"""The host's image networks at a fraction of their cost on a CPU: same parameters, same outputs.

Axes: B batch, H height, W width, I input and O output channels, K kernel size,
n = 2 r + 1 size of the folded kernel with r = ceil((K // 2) / 2).

About three quarters of an update of a small model on a CPU are convolutions of
few channels over many pixels. Here each is computed on blocks of 2 x 2
pixels that are treated as channels, and its kernel's gradient by a few matrix
products. Sums run in another order, so results differ by rounding. Where XLA
has convolutions of its own to call, on a GPU, nothing is changed.
"""

import embodied.jax.nets as nn
import jax
import jax.numpy as jnp
import numpy as np
from dreamerv3 import rssm

WIDE = 32  # Pixels; below that XLA's own convolution is as fast.


def encoder(folded, *args, **kw):
  """Make the host's encoder and, if `folded`, compute its larger convolutions on blocks."""
  made = rssm.Encoder(*args, **kw)
  return recast(made, Encoder) if folded else made


def decoder(folded, *args, **kw):
  """Make the host's decoder and, if `folded`, fold upsampling and convolution into one."""
  made = rssm.Decoder(*args, **kw)
  return recast(made, Decoder) if folded else made


def folding(kind):
  """Return a kind of the host's agent whose encoder and decoder are those here."""

  class Agent(kind):

    def __init__(self, *args):
      super().__init__(*args)
      recast(self.enc, Encoder)
      recast(self.dec, Decoder)

  return Agent


def recast(module, kind):
  """Make an object of a class of ninjax one of a subclass `kind` and return it.

  A subclass cannot be made directly: ninjax takes fields from the class body alone.
  """
  module.__class__ = kind
  return module


class Encoder(rssm.Encoder):

  def sub(self, name, ctor=None, *args, **kw):
    module = super().sub(name, ctor, *args, **kw)
    return recast(module, Blocks) if ctor is nn.Conv2D and _here() else module


class Decoder(rssm.Decoder):

  def sub(self, name, ctor=None, *args, **kw):
    module = super().sub(name, ctor, *args, **kw)
    doubled = not (self.outer and name == 'imgout')
    return recast(module, Doubled) if ctor is nn.Conv2D and doubled and _here() else module


class Blocks(nn.Conv2D):
  """The host's convolution of stride 1 or 2."""

  def __call__(self, x):
    K, (H, W) = self.kernel[0], x.shape[-3:-1]
    if W < WIDE or W % 2 or H % 2 or K % 2 == 0 or self.stride > 2:
      return super().__call__(x)
    kernel, bias = _params(self, x)
    # The padding of SAME before the first pixel.
    folded = fold(kernel, (K - self.stride) // 2, outs=2 // self.stride)
    out = convolve(blocks(x), folded)
    return (pixels(out) if self.stride == 1 else out) + bias


class Doubled(nn.Conv2D):
  """The host's convolution of images twice as large as what they were made of.

  Either their pixels were repeated already, or (`transp`) the module itself
  puts zeros between them, each pixel into the far corner of its block.
  """

  def __call__(self, x):
    K = self.kernel[0]
    if K % 2 == 0 or self.transp and self.stride != 2:
      return super().__call__(x)
    kernel, bias = _params(self, x)
    x, read = (x, [1]) if self.transp else (x[:, ::2, ::2], [0, 1])
    return pixels(convolve(x, fold(kernel, K // 2, doubled=read))) + bias


def blocks(x):
  """Turn blocks of 2 x 2 pixels into channels, `[B, H, W, I]` -> `[B, H/2, W/2, 4 I]`."""
  B, H, W, I = x.shape
  x = x.reshape((B, H // 2, 2, W // 2, 2, I))
  return x.transpose((0, 1, 3, 2, 4, 5)).reshape((B, H // 2, W // 2, 4 * I))


def pixels(x):
  """Undo `blocks`, `[B, H, W, 4 O]` -> `[B, 2 H, 2 W, O]`."""
  B, H, W, O = x.shape
  x = x.reshape((B, H, W, 2, 2, O // 4))
  return x.transpose((0, 1, 3, 2, 4, 5)).reshape((B, 2 * H, 2 * W, O // 4))


def fold(kernel, low, outs=2, doubled=None):
  """Return the kernel that does on blocks what `kernel` `[K, K, I, O]`, K odd, does on pixels.

  low: how many pixels the kernel reaches before the one that it is for. outs:
  pixels per block and axis that it is for, 1 with stride 2. From blocks,
  `[n, n, 4 I, outs^2 O]`; or from images of half the size, `[n, n, I, outs^2 O]`,
  whose pixels were put into the rows and columns `doubled` of each block.
  """
  K, _, I, O = kernel.shape
  r = (K // 2 + 1) // 2
  # Tap t for pixel p of a block reads pixel s of block a.
  p, a, s, t = np.ogrid[:outs, :2 * r + 1, :2, :K]
  reads = (p + t - low == 2 * (a - r) + s).astype(kernel.dtype)
  if doubled:
    reads = reads[:, :, doubled].sum(2, keepdims=True)
  out = jnp.einsum('past,qbuv,tvio->absuipqo', reads, reads, kernel)
  return out.reshape((2 * r + 1, 2 * r + 1, -1, outs ** 2 * O))


@jax.custom_vjp
def convolve(x, kernel):
  """Convolve `[B, H, W, I]` with `[n, n, I, O]`, n odd, zeros around the image -> `[B, H, W, O]`."""
  return _convolve(x, kernel)


def _convolve(x, kernel):
  return jax.lax.conv_general_dilated(
      x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def _forward(x, kernel):
  return _convolve(x, kernel), (x, kernel)


def _backward(saved, grad):
  x, kernel = saved
  dx, dkernel = jax.vjp(_convolve, x, kernel)[1](grad)
  if x.shape[-2] >= WIDE // 2:
    dkernel = _kernel_gradient(x, grad, kernel.shape[0])
  return dx, dkernel


def _kernel_gradient(x, grad, n):
  """Return the gradient of the kernel, one matrix product per row of it.

  With the images padded and laid out as one line of pixels, each tap is an
  offset into this line. XLA's convolution for it copies every patch instead.
  """
  r, I, O = n // 2, x.shape[-1], grad.shape[-1]
  line = lambda x, low, high: jnp.pad(x, ((0, 0), (low, high), (low, high), (0, 0))).reshape(
      (-1, x.shape[-1]))
  row = x.shape[-2] + 2 * r
  x, grad = line(x, r, r), line(grad, 0, 2 * r)
  length = len(x) - (n - 1) * (row + 1)
  taps = jnp.concatenate([x[b: len(x) - (n - 1) + b] for b in range(n)], -1)
  rows = [taps[a * row: a * row + length].T @ grad[:length] for a in range(n)]
  return jnp.stack(rows).reshape((n, n, I, O))


convolve.defvjp(_forward, _backward)


def _params(conv, x):
  """Return kernel and bias of the host's module, made as it makes them."""
  nn.ensure_dtypes(x)
  shape = (*conv.kernel, x.shape[-1], conv.depth)
  kernel = conv.value('kernel', conv._scaled_winit, shape).astype(x.dtype)
  if not conv.bias:
    return kernel, jnp.zeros((), x.dtype)
  return kernel, conv.value('bias', nn.init(conv.binit), conv.depth).astype(x.dtype)


def _here():
  return jax.default_backend() == 'cpu'
