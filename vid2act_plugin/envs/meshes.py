"""Coarser meshes for small images: most of the time of a software renderer goes into triangles.

The arm of Meta-World has 67,000 of them and covers about a thousand pixels of
a 64 x 64 image.
"""

import contextlib

import numpy as np


@contextlib.contextmanager
def coarse(model, detail):
  """Within the context, the meshes of MuJoCo's `model` lack details below `detail` metres.

  A renderer that is started there draws these. Faces come back afterwards, and
  vertices never change, so that contacts and rays are as before.
  """
  fields = model.mesh_facenum, model.mesh_face, model.mesh_facenormal
  saved = [x.copy() for x in fields]
  for i in range(model.nmesh):
    vertices = slice(model.mesh_vertadr[i], model.mesh_vertadr[i] + model.mesh_vertnum[i])
    at, count = model.mesh_faceadr[i], model.mesh_facenum[i]
    keep, faces = merge(model.mesh_vert[vertices], model.mesh_face[at: at + count], detail)
    model.mesh_facenormal[at: at + len(faces)] = model.mesh_facenormal[at: at + count][keep]
    model.mesh_face[at: at + len(faces)] = faces
    model.mesh_facenum[i] = len(faces)
  try:
    yield
  finally:
    for field, value in zip(fields, saved):
      field[:] = value


def merge(vertices, faces, detail):
  """Merge the vertices in each cube of side `detail` into one of them.

  vertices: `[V, 3]`; faces: `[F, 3]` indices. Returns the indices of the faces
  that are left `[G]`, each once, and their vertices `[G, 3]`.
  """
  cell = np.floor((vertices - vertices.min(0)) / detail).astype(np.int64)
  cell = np.ravel_multi_index(cell.T, cell.max(0) + 1)
  _, cell, count = np.unique(cell, return_inverse=True, return_counts=True)
  mean = np.stack([np.bincount(cell, x) for x in vertices.T], -1) / count[:, None]
  order = np.lexsort((np.square(vertices - mean[cell]).sum(-1), cell))
  nearest = order[np.unique(cell[order], return_index=True)[1]]
  faces = nearest[cell][faces]
  a, b, c = np.sort(faces, -1).T
  _, first = np.unique((a * len(vertices) + b) * len(vertices) + c, return_index=True)
  keep = np.sort(first[((a != b) & (b != c))[first]])
  return keep, faces[keep]
