"""Variables of the environment with which nothing can be drawn are named, with a cure that works."""

import os
import subprocess
import sys

import pytest
from helpers.suites import needs_dmc

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.envs import render
from vid2act_plugin.tools import doctor, probes

MAKE = """
from vid2act_plugin.envs import suites
print(len(suites.SUITES['{suite}'].tasks()))
"""


@pytest.mark.parametrize('variables, name', [
    (dict(MUJOCO_GL='nonsense'), 'MUJOCO_GL'), (dict(MUJOCO_GL='off'), 'MUJOCO_GL'),
    (dict(MUJOCO_GL='egl', PYOPENGL_PLATFORM='osmesa'), 'PYOPENGL_PLATFORM'),
    (dict(MUJOCO_GL='osmesa', PYOPENGL_PLATFORM='egl'), 'PYOPENGL_PLATFORM'),
    (dict(MUJOCO_GL='egl', PYOPENGL_PLATFORM='EGL'), 'PYOPENGL_PLATFORM'),
    (dict(MUJOCO_GL='egl', MUJOCO_EGL_DEVICE_ID='gpu0'), 'MUJOCO_EGL_DEVICE_ID'),
    (dict(MUJOCO_GL='egl', MUJOCO_EGL_DEVICE_ID=''), 'MUJOCO_EGL_DEVICE_ID'),
    (dict(MUJOCO_GL='egl', MUJOCO_EGL_DEVICE_ID='3'), 'MUJOCO_EGL_DEVICE_ID')])
def test_the_variable_at_fault_is_named(monkeypatch, variables, name):
  monkeypatch.setattr(render, '_devices', lambda: 1)
  with pytest.raises(UserError, match=f'^The variable {name} is .*; unset {name}'):
    render._variables(variables)
  render._variables({'MUJOCO_GL': 'egl', **variables, name: 'egl'} if name == 'MUJOCO_GL' else {
      k: v for k, v in variables.items() if k != name})  # The cure.


@pytest.mark.parametrize('variables', [
    dict(MUJOCO_GL='egl', MUJOCO_EGL_DEVICE_ID='0', PYOPENGL_PLATFORM='egl'),
    dict(MUJOCO_GL='glfw', PYOPENGL_PLATFORM='x11', MUJOCO_EGL_DEVICE_ID='9'),
    dict(MUJOCO_GL=' EGL '), dict(MUJOCO_GL='osmesa', PYOPENGL_PLATFORM='')])
def test_what_mujoco_accepts_is_accepted(monkeypatch, variables):
  monkeypatch.setattr(render, '_devices', lambda: 1)
  render._variables(variables)


def test_an_error_of_a_backend_names_what_it_speaks_of(monkeypatch):
  for name in render.VARIABLES:
    monkeypatch.setenv(name, 'x')
  text = str(render._unusable('the renderer did not start', RuntimeError('MUJOCO_EGL_DEVICE_ID!')))
  assert 'unset MUJOCO_EGL_DEVICE_ID, or' in text
  text = str(render._unusable('the renderer did not start', RuntimeError('no display')))
  assert 'unset PYOPENGL_PLATFORM and MUJOCO_EGL_DEVICE_ID and MUJOCO_GL, or' in text


@pytest.mark.parametrize('found', [True, False])
def test_what_we_set_ourselves_is_not_to_be_unset(monkeypatch, found):
  monkeypatch.setattr(render, '_loadable', lambda name: found)
  for name in render.VARIABLES:
    monkeypatch.delenv(name, False)
  for name in ('MUJOCO_GL', 'PYOPENGL_PLATFORM', render.OURS):  # As after `setup_gl`, in a worker too.
    monkeypatch.setenv(name, 'egl')
  text = str(render._unusable('the renderer did not start', RuntimeError('PYOPENGL_PLATFORM!')))
  assert 'unset' not in text and ('; set MUJOCO_GL to osmesa, or install' in text) == found
  monkeypatch.setenv('MUJOCO_GL', 'osmesa')  # By the user, since then.
  monkeypatch.setenv('PYOPENGL_PLATFORM', 'osmesa')
  assert 'unset PYOPENGL_PLATFORM, or' in str(render._unusable('the renderer did not start', RuntimeError('PYOPENGL_PLATFORM!')))


@needs_dmc
def test_a_suite_that_cannot_be_imported_is_one_sentence():
  done = subprocess.run(
      [sys.executable, '-c', MAKE.format(suite='dmcontrol')], capture_output=True, text=True,
      env={**os.environ, 'MUJOCO_GL': 'egl', 'PYOPENGL_PLATFORM': 'osmesa'})
  assert done.returncode == 1 and done.stderr.count('\n') == 1, done.stderr
  assert 'unset PYOPENGL_PLATFORM' in done.stderr


@pytest.mark.parametrize('works_without, cure', [
    (['A'], 'unset A'), (['B'], 'unset B'), (['A', 'B'], 'unset A and B'), (['C'], 'see elsewhere')])
def test_doctor_names_what_it_has_tried(monkeypatch, works_without, cure):
  monkeypatch.setenv('A', '1'), monkeypatch.setenv('B', '2')
  def child(function, without=()):
    return (3, None) if set(works_without) <= set(without) else (None, 'fault')
  monkeypatch.setattr(probes, 'child', child)
  status, text, found = probes.failure('draw', 'fault', ('A', 'B'), 'see elsewhere')
  assert status == 'fail' and 'fault' in text and found == cure
  assert ('without which it works' in text) == ('C' not in works_without)


def test_doctor_finds_the_variable_that_jax_fails_with(monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', 'nonsense')
  monkeypatch.setenv('XLA_FLAGS', '')
  found = doctor.examine('jax')
  assert found['status'] == 'fail' and found['cure'] == 'unset JAX_PLATFORMS'
  assert 'JAX_PLATFORMS=nonsense' in found['text'] and not found['text'].endswith(':')
