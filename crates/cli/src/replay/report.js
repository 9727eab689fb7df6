for (const table of document.querySelectorAll("table.sort")) {
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (!head) return;
    const column = head.cellIndex, down = head.dataset.down !== "1";
    for (const other of head.parentNode.cells) delete other.dataset.down;
    head.dataset.down = down ? "1" : "0";
    const value = (row) => { const cell = row.cells[column]; return "v" in cell.dataset ? Number(cell.dataset.v || -Infinity) : cell.textContent; };
    const rows = [...table.tBodies[0].rows].sort((a, b) => { const x = value(a), y = value(b); return x < y ? -1 : x > y ? 1 : 0; });
    if (down) rows.reverse();
    table.tBodies[0].append(...rows);
  });
}
