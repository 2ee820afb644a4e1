"""Outputs of the logger: all that are installed take what a run logs, pictures included."""

import io
import json
import sys
import types

import numpy as np
import pytest
from dreamerv3 import main, writers
from helpers.outputs import INSTALLED, LACKING, OUTPUTS, WRITERS, wandb_runs, written
from PIL import Image

from vid2act_plugin.training import start

RNG = np.random.default_rng(0)
LOGGED = {
    'train/loss': np.float32(0.5), 'episode/score': 1, 'params/summary': 'two lines\nof text',
    'report/relevance': RNG.integers(0, 256, (6, 8, 3), np.uint8),
    'eval/relevance': RNG.integers(0, 256, (6, 8, 3), np.uint8),
    'eval/video': RNG.integers(0, 256, (4, 16, 16, 3), np.uint8)}
PICTURES = [k for k, v in LOGGED.items() if np.ndim(v) > 1]


@pytest.mark.parametrize('output', OUTPUTS)
def test_every_output_takes_numbers_text_pictures_and_films(output, configure, tmp_path):
  if output in LACKING:
    pytest.skip(f'{LACKING[output]} is not installed; make install EXTRA={output}')
  for _ in range(2):  # The second time as a run that is continued.
    logger = main.make_logger(configure('metaworld', **{
        'logdir': str(tmp_path), 'logger.outputs': [output]}))
    for _ in range(2):
      logger.step.increment(10)
      logger.add(LOGGED)
      logger.write()
    logger.close()
  if output == 'jsonl':
    rows = [json.loads(x) for x in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [(x['step'], x['train/loss']) for x in rows] == [(10, 0.5), (20, 0.5)] * 2
    return
  if output == 'scope':  # It writes on after it was closed.
    logger.outputs[-1].writer.pool.shutdown()
  assert all(written(tmp_path, output, x) >= 2 for x in PICTURES)
  if output == 'wandb':
    first, second = wandb_runs(tmp_path)
    assert first == second == (tmp_path / writers.ID).read_text()


def test_all_outputs_are_known_and_those_of_the_lock_are_there():
  assert start.WRITERS == WRITERS
  assert {'jsonl', 'scope'} <= {*INSTALLED}


@pytest.fixture
def begun(monkeypatch):
  """Settings of runs and what was logged, in the place of Weights & Biases."""
  runs, logged = [], []
  run = types.SimpleNamespace(log=lambda x, step: logged.append((step, x)), finish=lambda: None)
  monkeypatch.setitem(sys.modules, 'wandb', types.SimpleNamespace(
      init=lambda **kw: runs.append(kw) or run, Histogram=lambda x: ('histogram', x),
      Image=lambda x: ('image', x), Video=lambda x, format: ('video', x, format)))
  return runs, logged


def open_run(folder):
  return writers.WandB('a/b', folder, 15)


def test_a_logdir_is_one_run(begun, tmp_path):
  open_run(tmp_path / 'one'), open_run(tmp_path / 'one'), open_run(tmp_path / 'two')
  ids = [x['id'] for x in begun[0]]
  assert ids[0] == ids[1] != ids[2]
  assert all(x['resume'] == 'allow' and x['name'] == 'a/b' for x in begun[0])
  assert begun[0][0]['dir'] == str(tmp_path / 'one')


@pytest.mark.parametrize('text', ['', '../../x', 'abcd123', 'abcd12345', 'ABCD1234', 'abcd123\x00'])
def test_what_is_no_id_is_not_believed(begun, tmp_path, text):
  (tmp_path / writers.ID).write_text(text)
  open_run(tmp_path), open_run(tmp_path)
  ids = [x['id'] for x in begun[0]]
  assert ids[0] == ids[1] != text and len(ids[0]) == 8


def test_values_as_weights_and_biases_wants_them(begun, tmp_path):
  image = np.array([[[0, 0.5, 2], [np.nan, -1, 1]]], np.float32)
  values = {
      'number': np.float32(2), 'text': 'text', 'image': image, 'grey': image[..., 0],
      'histogram': np.array([1, np.inf, np.nan, 2]), 'film': LOGGED['eval/video'],
      'grey_film': LOGGED['eval/video'][..., :1]}
  open_run(tmp_path)([(5, k, np.asarray(v) if k != 'text' else v) for k, v in values.items()])
  (step, found), = begun[1]
  assert step == 5 and found['number'] == 2 and found['text'] == 'text'
  np.testing.assert_array_equal(found['histogram'][1], [1, 2])
  np.testing.assert_array_equal(found['image'][1], [[[0, 127, 255], [0, 0, 255]]])
  assert found['grey'][1].shape == (1, 2, 1)
  for key in ('film', 'grey_film'):
    _, file, kind = found[key]
    assert isinstance(file, io.BytesIO) and kind == 'gif'
    assert Image.open(file).n_frames == 4 and Image.open(file).size == (16, 16)
