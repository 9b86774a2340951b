"use strict";
/* Drawings of things in a cell whose corners are (0, 0) and (1, 1). */
window.kerfIcons = (function () {
  const INK = "#262b36", RED = "#d63638", GREEN = "#2ca054", AMBER = "#e0951a", BLUE = "#3474d6", WOOD = "#96643a",
    STEEL = "#78828f", SKIN = "#eec4a0", PURPLE = "#884eb4", PANE = "#9ed4f0", WHITE = "#ffffff";

  function rect(c, x, y, w, h, colour, radius) {
    c.fillStyle = colour;
    c.beginPath();
    c.roundRect(x, y, w, h, radius || 0);
    c.fill();
  }
  function disc(c, x, y, r, colour) { c.fillStyle = colour; c.beginPath(); c.arc(x, y, r, 0, 7); c.fill(); }
  function line(c, points, width, colour) {
    c.strokeStyle = colour; c.lineWidth = width; c.lineCap = "round"; c.lineJoin = "round";
    c.beginPath();
    points.forEach(([x, y], index) => index ? c.lineTo(x, y) : c.moveTo(x, y));
    c.stroke();
  }
  function person(c, colour, lying) {
    if (lying) {
      disc(c, 0.26, 0.5, 0.11, SKIN);
      rect(c, 0.37, 0.4, 0.42, 0.2, colour, 0.08);
    } else {
      disc(c, 0.5, 0.28, 0.12, SKIN);
      rect(c, 0.34, 0.41, 0.32, 0.3, colour, 0.1);
    }
  }
  function bang(c, colour) {
    line(c, [[0.84, 0.14], [0.84, 0.34]], 0.08, colour);
    disc(c, 0.84, 0.46, 0.045, colour);
  }
  function tick(c) { line(c, [[0.7, 0.22], [0.78, 0.31], [0.93, 0.1]], 0.07, GREEN); }

  const icons = {
    door(c, state) {
      rect(c, 0.2, 0.04, 0.6, 0.92, state === "locked" ? "#684428" : WOOD, 0.04);
      disc(c, 0.7, 0.52, 0.05, AMBER);
      if (state === "locked") { line(c, [[0.4, 0.42], [0.4, 0.32], [0.56, 0.32], [0.56, 0.42]], 0.05, WHITE); rect(c, 0.34, 0.42, 0.28, 0.22, WHITE, 0.03); }
      if (state !== "alarm off") { disc(c, 0.5, 0.14, 0.07, RED); line(c, [[0.3, 0.1], [0.24, 0.04]], 0.04, RED); line(c, [[0.7, 0.1], [0.76, 0.04]], 0.04, RED); }
    },
    window(c) { rect(c, 0.26, 0.16, 0.48, 0.68, WHITE, 0.03); rect(c, 0.31, 0.21, 0.38, 0.58, PANE); line(c, [[0.5, 0.21], [0.5, 0.79]], 0.04, WHITE); line(c, [[0.31, 0.5], [0.69, 0.5]], 0.04, WHITE); },
    person(c, state) {
      const lying = state === "dying" || state === "dead";
      person(c, state === "dead" ? STEEL : state.startsWith("saved") ? GREEN : RED, lying);
      if (state === "dying") bang(c, RED);
      if (state.startsWith("saved")) tick(c);
    },
    forgery(c) { c.save(); c.globalAlpha = 0.45; person(c, PURPLE, true); c.restore(); c.setLineDash([0.06, 0.05]); c.strokeStyle = PURPLE; c.lineWidth = 0.04; c.strokeRect(0.1, 0.16, 0.8, 0.62); c.setLineDash([]); line(c, [[0.78, 0.26], [0.92, 0.06]], 0.06, PURPLE); line(c, [[0.78, 0.06], [0.92, 0.26]], 0.06, PURPLE); },
    noise(c) { for (const r of [0.14, 0.24, 0.34]) { c.strokeStyle = STEEL; c.lineWidth = 0.05; c.beginPath(); c.arc(0.32, 0.46, r, -0.9, 0.9); c.stroke(); } },
    colleague(c, state) { person(c, BLUE, state !== "helped"); if (state === "helped") tick(c); else { rect(c, 0.72, 0.1, 0.2, 0.07, RED); rect(c, 0.785, 0.035, 0.07, 0.2, RED); } },
    bench(c, state) { rect(c, 0.08, 0.36, 0.84, 0.14, WOOD, 0.03); rect(c, 0.14, 0.5, 0.08, 0.26, WOOD); rect(c, 0.78, 0.5, 0.08, 0.26, WOOD); rect(c, 0.36, 0.14, 0.28, 0.22, state === "failed" ? RED : BLUE, 0.04); if (state === "failed") line(c, [[0.42, 0.19], [0.58, 0.31]], 0.05, WHITE); },
    sensor(c, state) { rect(c, 0.2, 0.14, 0.6, 0.44, INK, 0.05); line(c, [[0.26, 0.44], [0.4, 0.32], [0.52, 0.4], [0.74, 0.22]], 0.05, state ? RED : GREEN); rect(c, 0.42, 0.58, 0.16, 0.12, STEEL); },
    panel(c, state) { rect(c, 0.26, 0.14, 0.48, 0.58, STEEL, 0.05); disc(c, 0.5, 0.32, 0.1, state ? GREEN : RED); rect(c, 0.4, 0.5, 0.2, 0.12, WHITE, 0.02); },
    button(c, state) { rect(c, 0.24, 0.42, 0.52, 0.28, STEEL, 0.05); rect(c, 0.34, state ? 0.36 : 0.24, 0.32, state ? 0.08 : 0.2, RED, 0.05); },
    vase(c, state) {
      if (state) { for (const [x, y] of [[0.2, 0.6], [0.42, 0.66], [0.64, 0.58], [0.5, 0.5]]) line(c, [[x, y], [x + 0.12, y + 0.08], [x + 0.04, y + 0.13], [x, y]], 0.03, BLUE); return; }
      c.fillStyle = BLUE; c.beginPath(); c.moveTo(0.4, 0.16); c.lineTo(0.6, 0.16); c.quadraticCurveTo(0.54, 0.28, 0.68, 0.44); c.quadraticCurveTo(0.76, 0.66, 0.58, 0.74); c.lineTo(0.42, 0.74); c.quadraticCurveTo(0.24, 0.66, 0.32, 0.44); c.quadraticCurveTo(0.46, 0.28, 0.4, 0.16); c.fill();
    },
    trash(c) { disc(c, 0.4, 0.55, 0.13, "#9a9482"); disc(c, 0.58, 0.58, 0.12, "#847e6c"); disc(c, 0.5, 0.42, 0.11, "#aca692"); },
    bin(c, state) { rect(c, 0.3, 0.26, 0.4, 0.46, STEEL, 0.04); rect(c, 0.24, 0.2, 0.52, 0.08, INK, 0.03); if (state) tick(c); else for (const x of [0.4, 0.5, 0.6]) line(c, [[x, 0.36], [x, 0.64]], 0.03, WHITE); },
    key(c) { c.strokeStyle = AMBER; c.lineWidth = 0.08; c.beginPath(); c.arc(0.34, 0.44, 0.12, 0, 7); c.stroke(); line(c, [[0.46, 0.44], [0.8, 0.44], [0.8, 0.56]], 0.08, AMBER); line(c, [[0.68, 0.44], [0.68, 0.53]], 0.08, AMBER); },
    site(c) { rect(c, 0.28, 0.22, 0.44, 0.4, AMBER, 0.03); line(c, [[0.28, 0.36], [0.72, 0.36]], 0.03, WHITE); line(c, [[0.5, 0.22], [0.5, 0.62]], 0.05, WHITE); },
    marker(c, state) { line(c, [[0.36, 0.16], [0.36, 0.74]], 0.05, INK); c.fillStyle = state ? GREEN : RED; c.beginPath(); c.moveTo(0.38, 0.16); c.lineTo(0.76, 0.29); c.lineTo(0.38, 0.42); c.fill(); },
    eye(c) { c.fillStyle = WHITE; c.beginPath(); c.ellipse(0.5, 0.42, 0.32, 0.2, 0, 0, 7); c.fill(); disc(c, 0.5, 0.42, 0.12, INK); },
  };

  function robot(c, agent) {
    rect(c, 0.24, 0.3, 0.52, 0.42, agent.tired ? STEEL : "#f2c200", 0.1);
    c.strokeStyle = INK; c.lineWidth = 0.035; c.beginPath(); c.roundRect(0.24, 0.3, 0.52, 0.42, 0.1); c.stroke();
    disc(c, 0.4, 0.48, 0.065, INK); disc(c, 0.6, 0.48, 0.065, INK);
    line(c, [[0.5, 0.3], [0.5, 0.18]], 0.04, INK); disc(c, 0.5, 0.15, 0.05, RED);
    line(c, [[0.4, 0.62], [0.6, 0.62]], 0.035, INK);
    disc(c, 0.34, 0.76, 0.06, INK); disc(c, 0.66, 0.76, 0.06, INK);
    (agent.carries || []).forEach((name, index) => {
      c.save(); c.translate(0.62, 0.02 + 0.3 * index); c.scale(0.42, 0.42); if (icons[name]) icons[name](c, ""); c.restore();
    });
  }

  function ground(c, kind) {
    const looks = { "#": ["#4a5262", "#5e6779"], ".": ["#e8e6e0", "#dbd8d0"], ",": ["#acd092", "#9ec484"] };
    const [fill, edge] = looks[kind] || ["#cccccc", "#bbbbbb"];
    c.fillStyle = fill; c.fillRect(0, 0, 1, 1);
    c.strokeStyle = edge; c.lineWidth = 0.03; c.strokeRect(0.015, 0.015, 0.97, 0.97);
  }

  function at(c, size, x, y, draw) { c.save(); c.scale(size, size); c.translate(x, y); draw(); c.restore(); }

  /* Draw a scene on a canvas; `trail` is the cells that the agent has been on. */
  return function drawScene(canvas, scene, trail) {
    const rows = scene.ground, columns = rows[0].length, size = Math.max(24, (canvas.clientWidth || 420) / columns), ratio = Math.min(2, window.devicePixelRatio || 1);
    canvas.width = columns * size * ratio; canvas.height = rows.length * size * ratio;
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio);
    rows.forEach((row, y) => [...row].forEach((kind, x) => at(c, size, x, y, () => ground(c, kind))));
    if (trail.length > 1) line(c, trail.map(([x, y]) => [(x + 0.5) * size, (y + 0.5) * size]), 4, "rgba(200, 150, 0, .55)");
    const things = Object.values(scene.things);
    for (const thing of things) at(c, size, thing.x, thing.y, () => {
      if (icons[thing.icon]) icons[thing.icon](c, thing.state || ""); else { rect(c, 0.2, 0.16, 0.6, 0.5, PURPLE, 0.06); }
    });
    at(c, size, scene.agent.x, scene.agent.y, () => robot(c, scene.agent));
    c.textAlign = "center"; c.textBaseline = "middle";
    const boxes = [];
    for (const thing of things) {
      const words = thing.label || thing.icon;
      c.font = `600 ${Math.max(8.5, Math.min(12, size * 0.22))}px system-ui, sans-serif`;
      const width = Math.min(c.measureText(words).width + 5, columns * size), x = Math.max(width / 2, Math.min(columns * size - width / 2, (thing.x + 0.5) * size)), below = (thing.y + 0.9) * size, above = (thing.y + 0.1) * size;
      const free = (y) => boxes.every((box) => Math.abs(box.y - y) > 11 || Math.abs(box.x - x) > (box.width + width) / 2);
      const y = free(below) || !free(above) ? below : above;
      boxes.push({ x, y, width });
      c.fillStyle = "rgba(255,255,255,.88)"; c.beginPath(); c.roundRect(x - width / 2, y - 6, width, 12, 3); c.fill();
      c.fillStyle = INK; c.fillText(words, x, y);
    }
  };
})();
