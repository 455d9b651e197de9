"""The style sheet of a report's page: one column, one accent colour, light and dark."""

STYLE = """\
:root {
  --ink: #1f2328; --quiet: #59636e; --paper: #ffffff; --panel: #f6f8fa; --line: #d8dee4;
  --accent: #0a66a8; --warn: #8a5300; --warn-paper: #fff6e5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e9ed; --quiet: #9aa4af; --paper: #14171b; --panel: #1c2127; --line: #343b44;
    --accent: #6cb6ec; --warn: #f0bd6a; --warn-paper: #2b2416;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 58rem; padding: 2.5rem 1.25rem 5rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 0 0 .75rem; }
p { margin: 0 0 .9rem; max-width: 46rem; overflow-wrap: break-word; }
.lead { color: var(--quiet); font-size: 1.05rem; }
a { color: var(--accent); text-underline-offset: .15em; }
a:focus-visible, .scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
nav { border-block: 1px solid var(--line); padding: .9rem 0; margin-top: 1.5rem; }
nav ol { columns: 3 15rem; gap: 1.5rem; margin: 0; padding-left: 1.6rem; }
nav li { margin: .1rem 0; break-inside: avoid; }
nav li::marker { color: var(--quiet); font-variant-numeric: tabular-nums; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
nav a.missing { color: var(--quiet); }
nav a.missing::after { content: " (no scores yet)"; font-size: .8rem; }
section { padding-top: 2.5rem; }
.scroll { overflow: auto; margin: 0 0 .5rem; }
.tall { max-height: 34rem; border-bottom: 1px solid var(--line); }
table {
  border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums;
  margin-bottom: .75rem; min-width: 50%;
}
caption {
  text-align: left; color: var(--quiet); font-size: .88rem; padding-bottom: .4rem;
  max-width: 46rem;
}
th, td { text-align: left; padding: .32rem .9rem .32rem 0; vertical-align: top; }
th { font-weight: 600; border-bottom: 1px solid var(--ink); background: var(--paper); }
thead th { position: sticky; top: 0; }
td { border-bottom: 1px solid var(--line); }
.number { text-align: right; white-space: nowrap; }
.interval { white-space: nowrap; }
.long { min-width: 20rem; }
code { font: .86em/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
td code { overflow-wrap: anywhere; }
pre {
  background: var(--panel); border: 1px solid var(--line); border-radius: 6px; margin: 0 0 1rem;
  padding: .7rem .9rem; overflow-x: auto;
}
.warn {
  background: var(--warn-paper); border-left: 3px solid var(--warn); padding: .6rem .9rem;
}
figure { margin: 1.25rem 0 1.75rem; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--quiet); font-size: .88rem; max-width: 46rem; }
@media (max-width: 40rem) {
  body { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.45rem; }
  figure img { max-width: none; width: max(100%, 34rem); }
}
@media print { .scroll { max-height: none; overflow: visible; } nav { display: none; } }
"""
