
(() => {
  const reveal = () => {
    const row = location.hash && document.getElementById(location.hash.slice(1));
    if (row && row.tagName === "DETAILS") { document.getElementById("f-all").checked = true; row.hidden = false; row.open = true; row.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  reveal();
  const find = document.getElementById("find");
  if (!find) return;
  find.hidden = false;
  const rows = Array.from(document.querySelectorAll(".row"), (row) => [row, row.textContent.toLowerCase()]);
  find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase();
    for (const [row, text] of rows) row.hidden = !text.includes(wanted);
  });
})();
