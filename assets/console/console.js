// Keeps the overview current. The server renders everything but the plots and the time that a call has lasted.
'use strict';

(() => {
  const FONT = '11px ui-sans-serif, system-ui, sans-serif';
  const HEIGHT = 182;
  const connection = document.getElementById('connection');
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const charts = new Map();
  const shown = new Map();
  let plots = {};

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Replaces only what has changed, so that a selection, the focus and a screen reader are left alone.
  function showFragments(fragments) {
    for (const [id, html] of Object.entries(fragments)) {
      const element = document.getElementById(id);
      if (element && shown.get(id) !== html && element.innerHTML !== html) element.innerHTML = html;
      shown.set(id, html);
    }
    showDurations();
  }

  function showDurations() {
    for (const element of document.querySelectorAll('[data-since]')) {
      const seconds = Math.max(0, Math.floor((Date.now() - Number(element.dataset.since)) / 1000));
      const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
      const parts = hours > 0 ? [hours, String(minutes).padStart(2, '0')] : [minutes];
      element.textContent = [...parts, String(seconds % 60).padStart(2, '0')].join(':');
    }
  }

  // Bars stand on one another: each series is drawn with all below it, the topmost first.
  function stacked(plot) {
    const sums = plot.x.map(() => 0);
    return plot.series.map((series) => series.values.map((value, at) => (sums[at] += value ?? 0)));
  }

  function axis(extra) {
    const line = colour('--line');
    return { stroke: colour('--muted'), font: FONT, grid: { stroke: line, width: 1 }, ticks: { show: false }, ...extra };
  }

  function options(plot, width) {
    const bars = plot.kind === 'bars';
    const period = plot.x.length > 1 ? plot.x[1] - plot.x[0] : 60;
    const series = plot.series.map((series) => {
      const own = colour(`--plot-${series.colour}`);
      return bars
        ? { label: series.label, fill: own, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 24], align: 1 }) }
        : { label: series.label, stroke: own, width: 1.75, spanGaps: false, points: { show: true, size: 4, fill: own, width: 0 } };
    });
    return {
      width,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: true, range: () => [plot.x[0], plot.x[plot.x.length - 1] + period] },
        y: { range: (_, __, max) => [0, Math.max(bars ? 4 : 100, (max ?? 0) * 1.1)] },
      },
      axes: [
        axis({ grid: { show: false }, size: 28, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toISOString().slice(11, 16)) }),
        axis({ size: 46, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000] }),
      ],
      series: [{}, ...(bars ? series.reverse() : series)],
    };
  }

  function data(plot) {
    const values = plot.kind === 'bars' ? stacked(plot).reverse() : plot.series.map((series) => series.values);
    return [plot.x, ...values];
  }

  function draw(name, plot) {
    const place = document.getElementById(`plot-${name}`);
    if (!place || place.clientWidth === 0) return;
    const inner = getComputedStyle(place);
    const width = place.clientWidth - parseFloat(inner.paddingLeft) - parseFloat(inner.paddingRight);
    const known = charts.get(name);
    if (known && known.width === width) {
      known.chart.setData(data(plot));
      return;
    }
    known?.chart.destroy();
    charts.set(name, { width, chart: new uPlot(options(plot, width), data(plot), place) });
  }

  function drawAll(anew) {
    if (anew) {
      for (const { chart } of charts.values()) chart.destroy();
      charts.clear();
    }
    for (const [name, plot] of Object.entries(plots)) draw(name, plot);
  }

  function connect() {
    const source = new EventSource('/console/events');
    source.onopen = () => { connection.textContent = ''; };
    source.onmessage = (event) => {
      const snapshot = JSON.parse(event.data);
      showFragments(snapshot.fragments);
      if (JSON.stringify(plots) !== JSON.stringify(snapshot.plots)) {
        plots = snapshot.plots;
        drawAll(false);
      }
      document.documentElement.dataset.live = 'yes';
    };
    source.onerror = () => {
      const refused = source.readyState === EventSource.CLOSED;
      connection.textContent = refused
        ? 'Not updated: signed out, or too many consoles are open. Trying again'
        : 'Connection lost, trying again';
      // The browser tries again by itself unless it was refused.
      if (refused) setTimeout(connect, 15000);
    };
  }

  dark.addEventListener('change', () => drawAll(true));
  new ResizeObserver(() => drawAll(false)).observe(document.getElementById('main'));
  setInterval(showDurations, 1000);
  showDurations();
  connect();
})();
