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
      const pane = make("article", "pane"), head = make("h4", "", name), parted = make("span", "parted");
      head.append(parted);
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
      views.set(name, { picture, state, rows, parted });
    }
    render();
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
      const view = views.get(name), episode = scenario().episodes[name];
      const events = (t ? episode.events[t - 1] : []).join(", ").replaceAll("_", " ");
      view.parted.textContent = episode.parted === null ? (name === told.arms[0] ? "" : "does the same") : t > episode.parted ? `parted at step ${episode.parted + 1}` : t === episode.parted ? "parts here" : "";
      if (episode.scenes) {
        const scenes = scenesOf(episode), scene = scenes[t];
        window.kerfIcons(view.picture, scene, scenes.slice(0, t + 1).map((each) => [each.agent.x, each.agent.y]));
        const lit = (kind) => scene.signs.filter((sign) => sign[1] && sign[2] === kind).map((sign) => sign[0]).join(", ");
        words(view.state, [["now", events], ["signs", lit("cue")], ["gives it away", lit("tell")], ...Object.entries(scene.facts), ...Object.entries(scene.hidden).map(([key, value]) => ["in truth", value])]);
        view.picture.setAttribute("aria-label", `${name}, step ${t}: agent at ${scene.agent.x}, ${scene.agent.y}; ${Object.values(scene.things).map((thing) => thing.label).join(", ")}`);
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
  function choose(index) { stop(); current = index; t = 0; rebuild(); history.replaceState(null, "", `#replay/${index + 1}`); }

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
    current = index < 0 ? current : index;
    if (told.arms.includes(arm)) arms.querySelectorAll("input").forEach((box) => { box.checked = box.value === arm; });
    t = 0;
    rebuild();
    place.scrollIntoView();
  }
  function follow() {
    const parts = location.hash.slice(1).split("/");
    if (parts[0] !== "replay" || !told.scenarios[Number(parts[1]) - 1]) return;
    current = Number(parts[1]) - 1;
    t = 0;
    rebuild();
    go(Number(parts[2]) || 0);
  }
  window.addEventListener("hashchange", follow);
  rebuild();
  toParting();
  follow();
  window.kerfReplay = { show, go, step: () => t };
})();
