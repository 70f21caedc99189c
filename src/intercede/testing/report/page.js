// The page can be read without this script. It filters clauses, and opens those that a link names, or all to print.
const clauses = [...document.querySelectorAll(".clause")];
const filter = document.querySelector(".filter");
const words = filter.querySelector("[type=search]");
const red = filter.querySelector("[type=checkbox]");
const shown = filter.querySelector("output");

function show() {
  const wanted = words.value.toLowerCase().split(/\s+/);
  for (const each of clauses) {
    const text = each.querySelector("summary").textContent.toLowerCase();
    each.hidden = (red.checked && !each.hasAttribute("data-red")) || !wanted.every((word) => text.includes(word));
  }
  for (const area of document.querySelectorAll(".area")) area.hidden = !area.querySelector(".clause:not([hidden])");
  shown.value = `${clauses.filter((each) => !each.hidden).length} of ${clauses.length} shown`;
}

function open() {
  const target = document.getElementById(location.hash.slice(1));
  if (!target || !target.matches(".clause")) return;
  words.value = "";
  red.checked = false;
  show();
  target.open = true;
  target.scrollIntoView();
}

filter.hidden = false;
filter.addEventListener("input", show);
filter.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", open);
addEventListener("beforeprint", () => clauses.forEach((each) => { each.open = true; }));
show();
open();
