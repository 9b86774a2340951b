"use strict";
/* Draws scenes. Things and ground come as lists of shapes in a cell whose corners are (0, 0) and (1, 1). */
window.kerfDraw = (function () {
  const INK = "#262b36", TRAIL = "rgba(200, 150, 0, .55)", CARRIED = [[0.58, 0.04], [0.58, 0.54]], CARRIED_SIZE = 0.42, TALLEST = 420;

  function path(c, points) {
    c.beginPath();
    points.forEach(([x, y], index) => index ? c.lineTo(x, y) : c.moveTo(x, y));
  }
  function line(c, points, width, colour) {
    c.strokeStyle = colour; c.lineWidth = width; c.lineCap = "round"; c.lineJoin = "round";
    path(c, points);
    c.stroke();
  }
  const kinds = {
    rect(c, left, top, right, bottom, colour, alpha) { c.globalAlpha = alpha; c.fillStyle = colour; c.fillRect(left, top, right - left, bottom - top); c.globalAlpha = 1; },
    ellipse(c, x, y, rx, ry, colour, alpha) { c.globalAlpha = alpha; c.fillStyle = colour; c.beginPath(); c.ellipse(x, y, rx, ry, 0, 0, 7); c.fill(); c.globalAlpha = 1; },
    ring(c, x, y, radius, width, colour) { c.strokeStyle = colour; c.lineWidth = width; c.beginPath(); c.arc(x, y, radius - width / 2, 0, 7); c.stroke(); },
    polygon(c, points, colour) { c.fillStyle = colour; path(c, points); c.closePath(); c.fill("evenodd"); },
    line,
    text(c, x, y, words, colour, height) { c.fillStyle = colour; c.textAlign = "center"; c.textBaseline = "middle"; c.save(); c.translate(x, y); c.scale(height / 20, height / 20); c.font = "700 28px ui-monospace, monospace"; c.fillText(words.toUpperCase(), 0, 2); c.restore(); },
  };
  function draw(c, shapes) { for (const [kind, ...rest] of shapes) kinds[kind](c, ...rest); }
  function at(c, size, x, y, shapes) { c.save(); c.scale(size, size); c.translate(x, y); draw(c, shapes); c.restore(); }

  function agentOn(c, size, agent, things) {
    at(c, size, agent.x, agent.y, things.agent[agent.tired ? "tired" : ""]);
    (agent.carries || []).forEach((icon, index) => {
      const [x, y] = CARRIED[index % CARRIED.length], small = size * CARRIED_SIZE;
      at(c, small, (agent.x + x) / CARRIED_SIZE, (agent.y + y) / CARRIED_SIZE, things[icon][""]);
    });
  }

  /* Labels below things, or above where there is another. */
  function labels(c, size, rows, columns, things) {
    const boxes = [];
    c.textAlign = "center"; c.textBaseline = "middle";
    for (const thing of things) {
      const words = thing.label || thing.icon;
      c.font = `600 ${Math.max(8.5, Math.min(12, size * 0.22))}px system-ui, sans-serif`;
      const width = Math.min(c.measureText(words).width + 5, columns * size), x = Math.max(width / 2, Math.min(columns * size - width / 2, (thing.x + 0.5) * size)), below = Math.min((thing.y + 1.02) * size, rows * size - 7), above = Math.max((thing.y - 0.02) * size, 7);
      const free = (y) => boxes.every((box) => Math.abs(box.y - y) > 11 || Math.abs(box.x - x) > (box.width + width) / 2);
      const y = free(below) || !free(above) ? below : above;
      boxes.push({ x, y, width });
      c.fillStyle = "rgba(255,255,255,.88)"; c.beginPath(); c.roundRect(x - width / 2, y - 6, width, 12, 3); c.fill();
      c.fillStyle = INK; c.fillText(words, x, y);
    }
  }

  /* Draw a scene on a canvas; `drawings` has the shapes of all that occurs, and `trail` the cells that the agent has been on. */
  return function drawScene(canvas, scene, trail, drawings) {
    const rows = scene.ground, columns = rows[0].length;
    canvas.style.maxWidth = `${TALLEST * columns / rows.length}px`;
    const size = Math.max(24, (canvas.clientWidth || 420) / columns), ratio = Math.min(2, window.devicePixelRatio || 1);
    canvas.width = columns * size * ratio; canvas.height = rows.length * size * ratio;
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio);
    rows.forEach((row, y) => [...row].forEach((kind, x) => at(c, size, x, y, drawings.ground[kind])));
    if (trail.length > 1) line(c, trail.map(([x, y]) => [(x + 0.5) * size, (y + 0.5) * size]), 4, TRAIL);
    const things = Object.values(scene.things);
    for (const thing of things) at(c, size, thing.x, thing.y, drawings.things[thing.icon][thing.state || ""]);
    if (scene.agent) agentOn(c, size, scene.agent, drawings.things);
    labels(c, size, rows.length, columns, things);
  };
})();
