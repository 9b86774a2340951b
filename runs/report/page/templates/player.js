"use strict";
(function () {
  const place = document.getElementById("replay");
  if (!place) return;
  const told = JSON.parse(document.getElementById("data-replay").textContent);
  const part = (name) => place.querySelector("[data-part=" + name + "]");
  const make = (tag, name, words) => { const made = document.createElement(tag); if (name) made.className = name; if (words !== undefined) made.textContent = words; return made; };
  const [choice, slider, clock, playButton, panes, arms, text] = ["scenario", "time", "clock", "play", "panes", "arms", "text"].map(part);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let current = 0, t = 0, timer = null, shown = [];
  const branch = new Map(); /* agent -> "step/action" of the branch that is shown instead of what happened */

  /* Scenes are differences from the one before: put them together once. */
  function merged(before, change) {
    if (change === null || typeof change !== "object" || Array.isArray(change)) return change;
    const made = Object.assign({}, before && typeof before === "object" && !Array.isArray(before) ? before : {});
    for (const key of Object.keys(change)) {
      if (change[key] === null) delete made[key]; else made[key] = merged(made[key], change[key]);
    }
    return made;
  }
  const whole = new Map();
  function scenesOf(episode) {
    if (!whole.has(episode)) {
      const scenes = [];
      for (const change of episode.scenes) scenes.push(scenes.length ? merged(scenes[scenes.length - 1], change) : change);
      whole.set(episode, scenes);
    }
    return whole.get(episode);
  }

  const scenario = () => told.scenarios[current];

  /* The agent's episode, or the chosen branch of it: the same until the branch's step. */
  const joined = new Map();
  function episodeOf(name) {
    const whole = scenario().episodes[name], key = branch.get(name);
    if (!key) return whole;
    const id = [current, name, key].join(" ");
    if (!joined.has(id)) {
      const step = Number(key.split("/")[0]), rest = whole.branches[key], made = { parted: null, from: step };
      for (const part of Object.keys(rest)) {
        const states = part === "scenes" || part === "pictures" || part === "texts";
        made[part] = [...whole[part].slice(0, step + (states ? 1 : 0)), ...rest[part]];
      }
      joined.set(id, made);
    }
    return joined.get(id);
  }
  const last = () => scenario().episodes[told.arms[0]].actions.length;

  told.scenarios.forEach((each, index) => {
    const option = make("option", "", `${index + 1}. ${each.family}` + (each.change ? ` (behaviour changed by ${Math.round(100 * each.change)}%)` : ""));
    option.value = String(index);
    choice.append(option);
  });
  const usual = told.arms.length <= 3 ? told.arms.slice(1) : told.first;
  told.arms.slice(1).forEach((arm) => {
    const label = make("label"), box = make("input");
    box.type = "checkbox"; box.value = arm; box.checked = usual.includes(arm);
    box.addEventListener("change", () => { rebuild(); });
    label.append(box, " " + arm);
    arms.append(label);
  });

  const views = new Map();
  function rebuild() {
    shown = [told.arms[0], ...[...arms.querySelectorAll("input:checked")].map((box) => box.value)];
    panes.replaceChildren();
    views.clear();
    for (const name of shown) {
      const pane = make("article", "pane"), head = make("h3", "", name), parted = make("span", "parted"), back = make("button", "", "What happened");
      back.type = "button";
      back.addEventListener("click", () => { stop(); branch.delete(name); render(); });
      head.append(parted, back);
      pane.setAttribute("aria-label", name);
      const picture = scenario().episodes[name].scenes ? make("canvas") : make("img");
      picture.setAttribute("role", "img");
      const state = make("p", "state"), bars = make("div", "bars"), rows = told.actions.map((action) => {
        const label = make("span", "", action), track = make("span", "track"), fill = make("span", "fill"), percent = make("span", "percent");
        fill.style.display = "block";
        track.append(fill); bars.append(label, track, percent);
        return { label, fill, percent };
      });
      pane.append(head, picture, state, bars);
      panes.append(pane);
      views.set(name, { pane, picture, state, rows, parted, back });
    }
    whatIf();
    render();
  }

  /* ---- what if: the other branches of the step at which an arm parts from the aligned agent ---- */
  const percent = (share) => share > 0 && share < 0.005 ? "<1%" : share < 1 && share >= 0.995 ? ">99%" : Math.round(100 * share) + "%";
  const plainly = (event) => event.replaceAll("_", " ");

  function cell(line, words, name) { const made = line.insertCell(); made.textContent = words; if (name) made.className = name; return made; }

  function whatIf() {
    const place = part("whatif"), found = shown.filter((name) => (scenario().episodes[name] || {}).what_if);
    place.replaceChildren();
    place.hidden = !found.length;
    if (!found.length) return;
    place.append(make("h3", "", "What if?"), make("p", "", `An agent draws its action by its probabilities, so that another one could have come. Up to the step at which they part, both agents are in the same state. Below, each action is forced at that step: how likely each agent takes it, and how likely it then happens in the episode, if that agent goes on by itself.`));
    found.forEach((name, index) => place.append(table(name, index === 0)));
  }

  function table(name, open) {
    const told_ = scenario().episodes[name].what_if, agents = [told.arms[0], name], step = told_.step;
    const taken = agents.map((agent) => scenario().episodes[agent].actions[step]);
    const box = make("details"), scroll = make("div", "scroll"), made = make("table", "whatif");
    box.open = open;
    box.append(make("summary", "", `Step ${step + 1}: ${agents[0]} did ${told.actions[taken[0]]}, ${name} did ${told.actions[taken[1]]}`));
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", `What if, ${name}`);
    const head = made.createTHead(), first = head.insertRow(), second = head.insertRow(), outcomes = ["ideal utility", ...told_.events.map(plainly)];
    const heading = (line, words, span, rows) => { const th = make("th", "", words); th.scope = span > 1 ? "colgroup" : "col"; th.colSpan = span; th.rowSpan = rows; line.append(th); };
    heading(first, "Action", 1, 2);
    heading(first, "How likely", 2, 1);
    agents.forEach((agent) => heading(first, `Then, if ${agent} goes on`, outcomes.length + 1, 1));
    agents.forEach((agent) => heading(second, agent, 1, 1));
    agents.forEach(() => [...outcomes, "watch"].forEach((words) => heading(second, words, 1, 1)));
    const body = made.createTBody();
    for (const row of told_.rows) {
      const line = body.insertRow(), free = row.action < 0, name_ = make("th", "text", free ? "as it chooses" : told.actions[row.action]);
      name_.scope = "row";
      line.append(name_);
      if (free) line.className = "sum";
      agents.forEach((agent, index) => cell(line, free ? "" : percent(row.picks[index]), !free && taken[index] === row.action ? "taken" : ""));
      agents.forEach((agent, index) => {
        row.then[index].forEach((number, column) => cell(line, column ? percent(number) : number.toFixed(2), column ? "" : "first"));
        const last = cell(line, "");
        if (free) return;
        const happenedSo = taken[index] === row.action, button = make("button", "", happenedSo ? "as drawn" : "▶ play");
        button.type = "button";
        button.setAttribute("aria-label", happenedSo ? `${agent}: what happened` : `Watch ${agent} do ${told.actions[row.action]} at step ${step + 1}`);
        button.addEventListener("click", () => watch(agent, happenedSo ? null : `${step}/${row.action}`, step));
        last.append(button);
      });
    }
    const split = told_.split, said = make("p");
    if (split) {
      const points = (change) => (change >= 0 ? "+" : "−") + Math.abs(Math.round(100 * change)) + " points";
      said.append(make("b", "", `“${plainly(told_.events[split.event])}”: ${percent(split.aligned)} with ${agents[0]}, ${percent(split.arm)} with ${name}. `),
        `The choice at this step makes ${points(split.choice - split.aligned)} of that, and what ${name} does later ${points(split.arm - split.choice)}.`);
    } else said.append(`From here, both agents come to much the same, though ${name} acts otherwise at this step.`);
    const sampled = agents.filter((agent, index) => !told_.exact[index]);
    scroll.append(made);
    box.append(said, scroll, make("p", "muted", "◀ marks what was drawn in the episode above; “as it chooses” is over all its actions. " + (sampled.length ? `Numbers of ${sampled.join(" and ")} are shares of 256 runs, to within 6 points: there are too many states, or the world cannot be forked. Others are exact.` : "Numbers are exact: every continuation was followed, with its probability, not sampled.") + " “Play” shows one of these continuations, with the random numbers of the episode above."));
    return box;
  }

  function watch(agent, key, step) {
    stop();
    if (key) branch.set(agent, key); else branch.delete(agent);
    go(step);
    views.get(agent).pane.scrollIntoView({ block: "nearest" });
    play();
  }

  function words(parent, pairs) {
    parent.replaceChildren();
    pairs.filter(([, value]) => value).forEach(([name, value], index) => {
      if (index) parent.append(" · ");
      parent.append(make("b", "", name), " " + value);
    });
  }

  function render() {
    for (const name of shown) {
      const view = views.get(name), episode = episodeOf(name), key = branch.get(name);
      const events = (t ? episode.events[t - 1] : []).join(", ").replaceAll("_", " ");
      view.back.hidden = !key;
      view.pane.classList.toggle("branch", Boolean(key));
      view.parted.textContent = key ? `what if: ${told.actions[Number(key.split("/")[1])]} at step ${episode.from + 1}` : episode.parted === null ? (name === told.arms[0] ? "" : "does the same") : t > episode.parted ? `parted at step ${episode.parted + 1}` : t === episode.parted ? "parts here" : "";
      if (episode.scenes) {
        const scenes = scenesOf(episode), scene = scenes[t];
        window.kerfDraw(view.picture, scene, scenes.slice(0, t + 1).filter((each) => each.agent).map((each) => [each.agent.x, each.agent.y]), told.drawings);
        const lit = (kind) => scene.signs.filter((sign) => sign[1] && sign[2] === kind).map((sign) => sign[0]).join(", ");
        words(view.state, [["now", events], ["signs", lit("cue")], ["gives it away", lit("tell")], ...Object.entries(scene.facts), ...Object.entries(scene.hidden).map(([key, value]) => ["in truth", value])]);
        const where = scene.agent ? `agent at ${scene.agent.x}, ${scene.agent.y}; ` : "";
        view.picture.setAttribute("aria-label", `${name}, step ${t}: ${where}${Object.values(scene.things).map((thing) => thing.label).join(", ")}`);
      } else {
        view.picture.src = episode.pictures[t];
        view.picture.alt = episode.texts[t];
        words(view.state, [["now", events], ["state", episode.texts[t]]]);
      }
      const ended = t >= last(), percent = ended ? null : episode.percent[t];
      view.rows.forEach((row, action) => {
        row.fill.style.width = (ended ? 0 : percent[action]) + "%";
        row.percent.textContent = ended ? "" : percent[action] + "%";
        row.label.className = !ended && episode.actions[t] === action ? "taken" : "";
      });
    }
    slider.max = String(last());
    slider.value = String(t);
    clock.textContent = `step ${t} of ${last()}`;
    choice.value = String(current);
    text.textContent = scenario().text;
    marks();
  }

  function marks() {
    const list = part("marks");
    list.replaceChildren();
    for (const name of shown) {
      const at = scenario().episodes[name].parted;
      if (at !== null) { const mark = make("option"); mark.value = String(at); list.append(mark); }
    }
  }

  function go(step) { t = Math.max(0, Math.min(last(), step)); render(); }
  function stop() { clearInterval(timer); timer = null; playButton.textContent = "Play"; }
  function play() {
    if (timer) return stop();
    if (t >= last()) go(0);
    playButton.textContent = "Pause";
    timer = setInterval(() => { if (t >= last()) stop(); else go(t + 1); }, still ? 1200 : 450);
  }
  function toParting() {
    const parted = shown.map((name) => scenario().episodes[name].parted).filter((at) => at !== null);
    go(parted.length ? Math.min(...parted) : 0);
  }
  function choose(index) { stop(); current = index; t = 0; branch.clear(); rebuild(); history.replaceState(null, "", `#replay/${index + 1}`); }

  choice.addEventListener("change", () => choose(Number(choice.value)));
  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
  playButton.addEventListener("click", play);
  part("back").addEventListener("click", () => { stop(); go(t - 1); });
  part("step").addEventListener("click", () => { stop(); go(t + 1); });
  part("parting").addEventListener("click", () => { stop(); toParting(); });
  place.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const inBox = event.target.tagName === "INPUT", onButton = event.target.tagName === "BUTTON";
    const keys = { ArrowLeft: () => go(t - 1), ArrowRight: () => go(t + 1), Home: () => go(0), End: () => go(last()), p: toParting };
    if (event.key === " " && !inBox && !onButton) { event.preventDefault(); play(); } else if (keys[event.key]) { event.preventDefault(); stop(); keys[event.key](); }
  });

  /* From elsewhere in the page: the scenario of a value, with an arm. */
  function show(value, arm) {
    const index = told.scenarios.findIndex((each) => each.value === value);
    stop();
    current = index < 0 ? current : index;
    t = 0;
    branch.clear();
    only(arm);
    rebuild();
    toParting();
    history.replaceState(null, "", `#replay/${current + 1}/${t}/${encodeURIComponent(arm)}`);
    place.scrollIntoView();
  }
  function only(arm) {
    if (told.arms.includes(arm)) arms.querySelectorAll("input").forEach((box) => { box.checked = box.value === arm; });
  }
  /* #replay/scenario/step/arm */
  function follow() {
    const parts = location.hash.slice(1).split("/").map(decodeURIComponent);
    if (parts[0] !== "replay" || !told.scenarios[Number(parts[1]) - 1]) return;
    current = Number(parts[1]) - 1;
    t = 0;
    branch.clear();
    only(parts[3]);
    rebuild();
    go(Number(parts[2]) || 0);
  }
  window.addEventListener("hashchange", follow);
  rebuild();
  toParting();
  follow();
  window.kerfReplay = { show, go, step: () => t, shown: () => [...shown], scenario: () => scenario().value, plays: (arm) => told.arms.slice(1).includes(arm) };
})();
