"use strict";

// Light, dark, or as the system has it.
const button = document.querySelector("button.theme");
const themes = { "": "Auto", light: "Light", dark: "Dark" };
function show(theme) {
  document.documentElement.dataset.theme = theme;
  button.textContent = themes[theme];
  button.setAttribute("aria-label", `Colours: ${themes[theme]}. Change`);
}
button.hidden = false;
show(document.documentElement.dataset.theme || "");
button.addEventListener("click", () => {
  const names = Object.keys(themes);
  const theme = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % 3];
  show(theme);
  try { localStorage.theme = theme; } catch { /* a file without storage */ }
});

// "/" goes to the search field, as on many sites.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    document.querySelector("header input[type=search]").focus();
  }
});

// Code is copied without prompts and without what it prints.
function code(block) {
  const text = block.textContent.replace(/\n$/, "");
  const lines = text.split("\n");
  if (lines[0].startsWith(">>> ")) {
    return lines.filter((line) => /^(>>>|\.\.\.)/.test(line))
      .map((line) => line.slice(4)).join("\n");
  }
  return text.replace(/^\$ /gm, "");
}
for (const block of document.querySelectorAll("div.highlight > pre")) {
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "copy";
  copy.textContent = "Copy";
  copy.setAttribute("aria-label", "Copy this code");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code(block));
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(block);
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  block.parentElement.append(copy);
}

// What scrolls sideways can be reached and scrolled by the keyboard.
function reach() {
  for (const block of document.querySelectorAll("pre, .wide")) {
    const scrolls = block.scrollWidth > block.clientWidth + 1;
    if (scrolls) block.tabIndex = 0;
    else block.removeAttribute("tabindex");
  }
}
reach();
addEventListener("resize", reach);
document.addEventListener("toggle", reach, true);

// The gallery: words and choices; the address keeps them.
const filter = document.querySelector("form.filter");
if (filter) {
  const cards = [...document.querySelectorAll("li.card")];
  const count = filter.querySelector("output");
  const given = new URLSearchParams(location.search);
  for (const field of filter.elements) {
    if (field.type === "radio") field.checked = field.value === (given.get(field.name) ?? "");
    else if (field.name && given.has(field.name)) field.value = given.get(field.name);
  }
  const apply = () => {
    const wanted = new FormData(filter);
    const words = wanted.get("words").toLowerCase().split(/\s+/);
    let shown = 0;
    for (const card of cards) {
      const fits = ["category", "evidence", "needs"].every((name) =>
        !wanted.get(name) || card.dataset[name].split(" ").includes(wanted.get(name)));
      card.hidden = !(fits && words.every((word) => card.dataset.words.includes(word)));
      shown += !card.hidden;
    }
    for (const group of document.querySelectorAll("section.shelf")) {
      group.hidden = !group.querySelector("li.card:not([hidden])");
    }
    count.textContent = shown === 1 ? "1 recipe" : `${shown} recipes`;
    const query = new URLSearchParams([...wanted].filter(([, value]) => value)).toString();
    try { history.replaceState(null, "", query ? `?${query}` : location.pathname); } catch { /* a local file */ }
  };
  filter.hidden = false;
  filter.addEventListener("input", apply);
  filter.addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("reset", () => setTimeout(apply));
  apply();
}
