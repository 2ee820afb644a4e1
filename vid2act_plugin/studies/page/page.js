'use strict';

// Tables: a column's button sorts by it, and once more the other way round. What is missing stays last.
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const key = (row, i) => {
    const {dataset: {sort}, textContent} = row.cells[i];
    return sort === undefined ? textContent : sort === '' ? null : Number(sort);
  };
  const compare = (a, b) => typeof a === 'number' && typeof b === 'number' ? a - b :
    String(a).localeCompare(String(b), 'en', {numeric: true});
  heads.forEach((head, i) => head.querySelector('button').addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    const known = x => key(x, i) !== null, rows = [...body.rows];
    const sorted = rows.filter(known).sort((a, b) => compare(key(a, i), key(b, i)) * (down ? -1 : 1));
    body.append(...sorted, ...rows.filter(x => !known(x)));
    heads.forEach(x => x.setAttribute('aria-sort', 'none'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  }));
}

// Films: a sheet of all frames, moved behind a window of one. What stands beside one follows its slider.
const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
for (const player of document.querySelectorAll('.player')) {
  const {places, numbers, bars} = JSON.parse(player.querySelector('.steps').textContent);
  const {columns, rows, time} = player.dataset, image = player.querySelector('.film img');
  const slider = player.querySelector('input'), button = player.querySelector('.play');
  const readout = [...player.querySelectorAll('.readout tr')];
  const drawings = [...player.querySelectorAll('.drawing')];
  const cursors = drawings.map(x => x.appendChild(Object.assign(document.createElement('i'), {className: 'cursor'})));
  cursors.forEach((cursor, i) => {
    for (const side of ['top', 'bottom']) cursor.style[side] = `${100 * drawings[i].dataset[side]}%`;
  });
  const last = places.length - 1;
  let timer = null;

  const show = step => {
    const place = places[step];
    image.style.transform = `translate(${-100 * (place % columns) / columns}%, ${-100 * Math.floor(place / columns) / rows}%)`;
    slider.value = step;
    slider.setAttribute('aria-valuetext', `step ${step} of ${last}`);
    player.querySelector('output').textContent = `${step} of ${last}`;
    readout.forEach((row, i) => {
      const value = numbers[i][step];
      row.querySelector('.value').textContent = value === null ? '–' : String(value);
      row.querySelector('.bar span').style.width = `${100 * Math.min(1, Math.max(0, bars[i] ? value : 0))}%`;
    });
    cursors.forEach((cursor, i) => {
      const left = Number(drawings[i].dataset.left), right = Number(drawings[i].dataset.right);
      cursor.style.left = `${100 * (left + (right - left) * step / Math.max(1, last))}%`;
    });
  };
  const play = on => {
    clearInterval(timer);
    timer = on ? setInterval(() => show(Number(slider.value) < last ? Number(slider.value) + 1 : 0), time) : null;
    button.textContent = on ? 'Pause' : 'Play';
  };
  button.addEventListener('click', () => play(!timer));
  slider.addEventListener('input', () => { play(false); show(Number(slider.value)); });
  show(0);
  // Only what is seen plays; the reader's Play and Pause count more.
  let chosen = still;
  for (const event of ['click', 'input']) player.addEventListener(event, () => { chosen = true; });
  new IntersectionObserver(([seen]) => { if (!chosen) play(seen.isIntersecting); }).observe(player.querySelector('.film'));
}
