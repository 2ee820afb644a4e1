"""Films: which of their tracks is read."""

import av
import numpy as np
import pytest
from av.stream import Disposition
from helpers.foreign import write_mp4

from vid2act_plugin.common import images
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources.formats import video

FORMS = {'.mp4': 'mp4', '.mkv': 'matroska', '.mov': 'mov'}


def tracks(path, *levels, cover=False):
  """Write a film with a track of grey images for each level; cover: the last one is attached."""
  with av.open(str(path), 'w') as file:
    streams = [file.add_stream('mjpeg' if cover and i else 'libx264', rate=10) for i in range(len(levels))]
    for stream in streams:
      stream.height = stream.width = 32
      stream.pix_fmt = 'yuvj420p' if stream.codec_context.name == 'mjpeg' else 'yuv420p'
    if cover:
      streams[-1].disposition = Disposition.attached_pic
    for stream, level in zip(streams, levels):
      for _ in range(1 if cover and stream is not streams[0] else 6):
        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), level, np.uint8), 'rgb24')
        file.mux(stream.encode(frame))
      file.mux(stream.encode())


@pytest.mark.parametrize('suffix', FORMS)
def test_a_film_with_two_tracks_of_images_is_refused(tmp_path, suffix):
  tracks(path := tmp_path / f'v{suffix}', 40, 200)
  for read in (video.rate, lambda x: [*video.frames(x)], video._probe):
    with pytest.raises(UserError, match=r'v\.\w+ has 2 tracks of images; .*-map 0:v:0'):
      read(path)


def test_a_cover_is_no_track(tmp_path):
  tracks(path := tmp_path / 'v.mp4', 40, 200, cover=True)
  with av.open(str(path)) as file:
    assert len(file.streams.video) == 2
  found = [x for _, x in video.frames(path)]
  assert len(found) == 6 and abs(found[0].mean() - 40) < 5


def test_one_track(tmp_path):
  write_mp4(tmp_path / 'v.mp4', np.zeros((4, 32, 32, 3), np.uint8))
  with images.film(tmp_path / 'v.mp4', 'mp4') as (container, stream):
    assert len(container.streams.video) == 1 and stream.type == 'video'
