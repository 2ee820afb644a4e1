"""What to do in the Fetch tasks of gymnasium-robotics: scripts as experts for recordings."""

import re

import numpy as np

NAME = re.compile(r'(?:gymnasium_robotics:)?Fetch(Reach|Push|Slide|PickAndPlace)((?:Dense)?-v\d+)')
SOURCES = 'Reach', 'Push', 'PickAndPlace'
GAIN = 10.0  # An action of 1 moves the gripper by about 5 cm, not all of it at once.
ABOVE, BEHIND, NEAR = 0.1, 0.07, 0.02  # Metres.


def known(task):
  """Return whether there is a script for a task."""
  return bool(NAME.fullmatch(task))


def sources(task):
  """Return the other tasks that a Fetch task can learn from, none for tasks of another kind."""
  found = NAME.fullmatch(task)
  return [f'Fetch{x}{found[2]}' for x in SOURCES if x != found[1]] if found else []


def act(task, state):
  """Return the action `[4]` at an observation: where the gripper moves, and whether it opens."""
  kind, obs, goal = NAME.fullmatch(task)[1], state['observation'], state['desired_goal']
  hand, thing = obs[:3], obs[3:6]
  if kind == 'Reach':
    return _towards(hand, goal)
  if kind == 'PickAndPlace':
    return _pick(hand, thing, goal, obs[9] + obs[10])
  return _push(hand, thing, goal)


def _towards(hand, place, grip=0.0):
  return np.append(np.clip(GAIN * (place - hand), -1, 1), grip)


def _pick(hand, thing, goal, width):
  aside = np.linalg.norm((thing - hand)[:2])
  if aside > NEAR:  # Over it, and not through it.
    return _towards(hand, thing + [0, 0, ABOVE], 1)
  if thing[2] - hand[2] < -NEAR / 2 or aside > NEAR / 2:
    return _towards(hand, thing, 1)
  if width > 0.055:  # Its sides are 5 cm.
    return np.array([0, 0, 0, -1.0])
  return _towards(hand, goal, -1)


def _push(hand, thing, goal):
  way = (goal - thing)[:2]
  far = np.linalg.norm(way)
  if far < NEAR:
    return _towards(hand, hand)
  ahead = np.append(way / far, 0)
  offset = (hand - thing)[:2]
  aside = np.linalg.norm(offset - ahead[:2] * (offset @ ahead[:2]))
  behind = thing - BEHIND * ahead
  if offset @ ahead[:2] < 0 and aside < NEAR and abs(hand[2] - thing[2]) < NEAR:
    return np.append(np.clip(GAIN * (goal - hand)[:2], -0.5, 0.5), [0, 0])
  if np.linalg.norm((behind - hand)[:2]) < NEAR:
    return _towards(hand, behind)
  return _towards(hand, behind + [0, 0, ABOVE])
