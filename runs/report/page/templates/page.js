"use strict";
(function () {
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const narrow = () => window.innerWidth < 640;

  /* ---- figures ---- */
  function themed(value) {
    if (Array.isArray(value)) return value.map(themed);
    if (value && typeof value === "object") {
      const made = {};
      for (const key of Object.keys(value)) made[key] = themed(value[key]);
      return made;
    }
    if (typeof value !== "string" || value[0] !== "@") return value;
    if (value === "@diverging") return [[0, css("--low")], [0.5, css("--mid")], [1, css("--high")]];
    if (value === "@sequential") return [[0, css("--mid")], [1, css("--high")]];
    if (value === "@text") return css("--fg");
    if (value === "@grey") return css("--grey");
    return css("--c" + value.slice(1));
  }

  function layoutOf(figure) {
    const line = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true };
    const given = themed(figure.layout);
    const named = figure.data.filter((trace) => trace.name && trace.showlegend !== false).length;
    const layout = Object.assign({
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", height: figure.height, autosize: true,
      font: { color: css("--fg"), family: getComputedStyle(document.body).fontFamily, size: narrow() ? 11 : 13 },
      margin: { l: 60, r: 20, t: 30, b: 50 }, showlegend: named > 0,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--accent") },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--fg") }, align: "left" },
    }, given);
    layout.xaxis = Object.assign({}, line, given.xaxis);
    layout.yaxis = Object.assign({}, line, given.yaxis);
    if (narrow()) {
      layout.legend = { orientation: "h", y: -0.25 };
      if (figure.data.some((trace) => trace.type === "heatmap")) {
        layout.margin = { l: 10, r: 10, t: 110, b: 10 };
        layout.xaxis.tickangle = -65;
        layout.yaxis.tickfont = { size: 9 };
      }
    }
    return layout;
  }

  function slim(trace) {
    trace.showscale = false;
    trace.textfont = { size: 8 };
    trace.text = trace.text.map((row) => row.map((cell) => cell.replace(" *", "").replace("0.", ".").replace(/^\.00$/, "0")));
    trace.y = trace.y.map((label) => label.length > 22 ? label.replace(/(.{9,}?) /, "$1<br>") : label);
  }

  const drawn = new Map();
  function draw(place) {
    const id = place.dataset.figure;
    const figure = read("data-" + id);
    const config = { responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover",
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
    const layout = layoutOf(figure);
    const traces = themed(figure.data);
    if (narrow()) for (const trace of traces) if (trace.type === "heatmap") slim(trace);
    const marked = chosen(id);
    tell(place, marked);
    if (marked) for (const trace of traces) {
      const named = matches(trace, marked);
      trace.opacity = named ? 1 : 0.12;
      if (named && marked.seed !== undefined && trace.line) trace.line.width = 3;
    }
    Plotly.react(place, traces, layout, config);
    place.style.minHeight = "";
    if (!drawn.has(id)) place.on("plotly_click", (event) => clicked(id, event.points[0]));
    drawn.set(id, place);
  }

  function matches(trace, marked) {
    const meta = trace.meta || [];
    return meta[0] === "map" || (meta[0] === marked.arm && (marked.seed === undefined || String(meta[1]) === marked.seed));
  }

  function chosen(id) {
    const parts = decodeURIComponent(location.hash.slice(1)).split("/");
    return parts[0] === id && parts.length > 1 ? { arm: parts[1], seed: parts[2] } : null;
  }

  function clicked(id, point) {
    const meta = point.data.meta || [];
    if (meta[0] === "map") watch(point.customdata, String(point.x));
    else if (meta.length) mark([id, ...meta].map((part) => encodeURIComponent(part)).join("/"));
  }

  function watch(value, arm) { if (window.kerfReplay) window.kerfReplay.show(value, arm); }

  /* Mark what the address names, and say below the figure what that is. */
  function mark(target) {
    history.replaceState(null, "", "#" + target);
    const id = decodeURIComponent(target.split("/")[0]);
    draw(byId(id).querySelector(".plot"));
  }

  function tell(place, marked) {
    const id = place.dataset.figure;
    const line = byId(id).querySelector(".marked");
    line.replaceChildren();
    line.hidden = !marked;
    if (!marked) return;
    const button = (words, does) => { const made = document.createElement("button"); made.type = "button"; made.textContent = words; made.addEventListener("click", does); line.append(" ", made); };
    line.append(`Marked: ${marked.arm}${marked.seed === undefined ? "" : ", seed " + marked.seed}. `);
    const value = place.dataset.value;
    if (window.kerfReplay && window.kerfReplay.plays(marked.arm)) button(`Watch ${marked.arm}`, () => watch(value, marked.arm));
    button("Show all", () => mark(encodeURIComponent(id)));
  }

  const plots = [...document.querySelectorAll(".plot")];
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !drawn.has(entry.target.dataset.figure)) draw(entry.target);
  }, { rootMargin: "500px" });
  plots.forEach((place) => observer.observe(place));
  const redraw = () => drawn.forEach((place) => draw(place));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia("(max-width: 640px)").addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => plots.forEach((place) => { if (!drawn.has(place.dataset.figure)) draw(place); }));

  /* ---- numbers ---- */
  const text = (cell) => cell === null ? "-" : typeof cell === "number" && !Number.isInteger(cell) ? cell.toFixed(3) : String(cell);

  function fill(details) {
    const place = details.querySelector(".scroll");
    if (place.firstChild) return;
    const { columns, rows } = read("rows-" + details.dataset.rows);
    const words = columns.map((_, index) => rows.some((row) => typeof row[index] === "string"));
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    columns.forEach((name, index) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      if (words[index]) cell.className = "text";
      head.append(cell);
    });
    const body = table.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      row.forEach((cell, index) => {
        const made = line.insertCell();
        made.textContent = text(cell);
        if (words[index]) made.className = "text";
      });
    }
    place.append(table);
  }
  document.querySelectorAll("details.numbers").forEach((details) => {
    if (details.open) fill(details);
    details.addEventListener("toggle", () => { if (details.open) fill(details); });
  });

  function save(name, kind, content) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: kind }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  function csv(id) {
    const { columns, rows } = read("rows-" + id);
    const quoted = (cell) => cell === null ? "" : /[",\n]/.test(String(cell)) ? '"' + String(cell).replaceAll('"', '""') + '"' : String(cell);
    return [columns, ...rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  }
  function tex(id) {
    const { columns, rows } = read("rows-" + id);
    const escaped = (sign) => "\\^~".includes(sign) ? `\\char${sign.charCodeAt(0)}{}` : "\\" + sign;
    const safe = (cell) => text(cell).replace(/[\\&%$#_{}^~]/g, escaped);
    const body = rows.map((row) => row.map(safe).join(" & ") + " \\\\").join("\n");
    return `\\begin{tabular}{l${"r".repeat(columns.length - 1)}}\n${columns.map(safe).join(" & ")} \\\\ \\hline\n${body}\n\\end{tabular}\n`;
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.csv) save(button.dataset.csv + ".csv", "text/csv", csv(button.dataset.csv));
    if (button.dataset.tex) save(button.dataset.tex + ".tex", "text/plain", tex(button.dataset.tex));
    if (button.dataset.image) {
      const place = byId(button.dataset.of).querySelector(".plot");
      if (!drawn.has(button.dataset.of)) draw(place);
      Plotly.downloadImage(place, { format: button.dataset.image, filename: button.dataset.of, width: 1000, height: place.offsetHeight || 500 });
    }
  });

  /* ---- deep links: #figure, #figure/arm, #figure/arm/seed; #replay/scenario/step/arm is the player's ---- */
  function follow() {
    const [id] = decodeURIComponent(location.hash.slice(1)).split("/");
    const target = id && byId(id);
    if (!target) return;
    for (let above = target; above; above = above.parentElement) if (above.tagName === "DETAILS") above.open = true;
    const place = target.querySelector && target.querySelector(":scope > .plot");
    if (place) draw(place);
    target.scrollIntoView();
    if (target.tabIndex === -1) target.focus({ preventScroll: true });
  }
  window.addEventListener("hashchange", follow);
  window.addEventListener("load", follow);
  document.querySelectorAll("details.folded").forEach((details) => details.addEventListener("toggle", () => {
    details.querySelectorAll(".plot").forEach((place) => { if (details.open) draw(place); });
  }));
  window.kerfPage = { draw, drawn, csv, tex };
})();
