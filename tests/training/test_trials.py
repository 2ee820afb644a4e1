"""The sources' behaviours are tried in their own tasks, as these were recorded."""

from helpers.inspecting import write

from vid2act_plugin.training import clone
from vid2act_plugin.training.trials import Trials


def test_every_source_is_tried_with_the_settings_of_its_own_recording(
    configure, tmp_path, monkeypatch, plain):
  seen = []

  class Seen(Trials):

    def play(self, *args):
      seen.append((self.env.name, self.env.limit, self.env.repeat, self.env.size))
      return super().play(*args)
  monkeypatch.setattr(clone, 'Trials', Seen)
  envs = dict(reach=dict(limit=4, repeat=2, size=[64, 64]), push=dict(limit=6, repeat=3, size=[8, 8]))
  for task, env in envs.items():
    env.update(render='fast')
    write(tmp_path / f'metaworld_{task}', actions=4, size=(16, 16), fields=dict(
        suite='metaworld', task=task, env=env))
  config = configure('vid2act', 'metaworld', **{
      'logdir': str(tmp_path / 'run'), 'vid2act.recordings': str(tmp_path),
      'vid2act.sources': ['metaworld_reach', 'metaworld_push'], 'vid2act.behaviours.episodes': 1})
  made = clone.learn(config, clone.recordings(config), lambda: None)
  both = [('reach', 4, 2, (16, 16))] * 2 + [('push', 6, 3, (16, 16))] * 2
  assert seen == both
  seen.clear()  # A source that is named by its folder is of the same task.
  named = config.update({'logdir': str(tmp_path / 'named'), 'vid2act.recordings': '', 'vid2act.sources': [
      f'{tmp_path}/metaworld_reach', f'{tmp_path}/metaworld_push']})
  clone.learn(named, clone.recordings(named), lambda: None)
  assert seen == both
  assert made.facts['env'] == envs['reach'] and [len(x) for x in made.facts['success']] == [2, 2]
