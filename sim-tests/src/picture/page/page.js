'use strict';
const view = document.getElementById('view');
function show() {
  for (const section of document.querySelectorAll('section.view')) section.hidden = section.id !== 'view-' + view.value;
  const all = view.value === 'all';
  const txs = new Set(view.selectedOptions[0].dataset.txs.split(' '));
  for (const row of document.querySelectorAll('tr[data-tx]')) row.hidden = !all && !txs.has(row.dataset.tx);
}
view.addEventListener('change', show);
document.getElementById('others').addEventListener('change', event => document.body.classList.toggle('alone', !event.target.checked));
// Where violations show is marked in the first picture.
for (const link of document.querySelectorAll('.violations a')) link.addEventListener('click', () => { view.selectedIndex = 0; show(); });
show();
