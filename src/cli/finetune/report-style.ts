import { Html } from './html.js';

/** The report's style. Blue and orange are told apart by all eyes; validation lines are dashed besides. */
export const reportStyle = new Html(`
:root { --page: #f6f7f9; --card: #fff; --ink: #1c2330; --soft: #5a6474; --rule: #dfe3e9; --one: #2563c9; --two: #c2500a; --right: #2563c9; --wrong: #c2500a; --deep: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --page: #10141b; --card: #191f29; --ink: #e8ebf0; --soft: #a2acbb; --rule: #303846; --one: #7fb0ff; --two: #ffa25c; --right: #4f8ef0; --wrong: #e0792f; --deep: #0b0f15; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 12px; }
p { margin: 0 0 12px; }
.eyebrow { color: var(--soft); font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; margin: 0 0 4px; }
.sub, .note, caption { color: var(--soft); }
.sub { margin-top: 4px; }
section, .facts { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 24px; margin: 20px 0 0; }
.facts { display: flex; flex-wrap: wrap; gap: 16px 40px; align-items: flex-end; }
.fact dt { color: var(--soft); font-size: .85rem; }
.fact dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.fact.lead dd { font-size: 2.4rem; line-height: 1.15; color: var(--one); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 24px; }
.chart { margin: 0; }
.chart figcaption { display: flex; justify-content: space-between; flex-wrap: wrap; gap: 4px 16px; font-weight: 600; margin-bottom: 6px; }
.legend { font-weight: 400; font-size: .85rem; color: var(--soft); display: flex; gap: 16px; }
.key::before { content: ''; display: inline-block; width: 20px; border-top: 3px solid var(--one); vertical-align: middle; margin-right: 6px; }
.key.two::before { border-top: 3px dashed var(--two); }
svg { display: block; width: 100%; height: auto; }
.grid { stroke: var(--rule); stroke-width: 1; }
.mark { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 2 4; }
.tick { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round; stroke-linecap: round; }
.line.one { stroke: var(--one); } .line.two { stroke: var(--two); stroke-dasharray: 7 5; }
.dot.one { fill: var(--one); } .dot.two { fill: var(--two); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-size: .9rem; padding-bottom: 10px; }
th { font-weight: 600; text-align: left; }
.matrix { width: 100%; }
.matrix thead th { width: calc(80% / var(--classes)); }
.charts > .scroll { max-height: 320px; overflow-y: auto; }
.epochs tbody th { white-space: nowrap; }
.parts th, .parts td { white-space: nowrap; }
.matrix th, .matrix td { padding: 8px 12px; text-align: center; }
.matrix tbody th { text-align: right; padding-left: 0; }
.matrix tbody td { min-width: 64px; height: 48px; border: 2px solid var(--card); border-radius: 8px; }
.matrix .none { color: var(--soft); background: color-mix(in srgb, var(--rule) 40%, transparent); }
.matrix .right { background: color-mix(in srgb, var(--right) var(--part), color-mix(in srgb, var(--right) 12%, var(--card))); }
.matrix .wrong { background: color-mix(in srgb, var(--wrong) var(--part), color-mix(in srgb, var(--wrong) 16%, var(--card))); }
.matrix .deep { color: var(--deep); font-weight: 600; }
.list { width: 100%; }
.list th, .list td { padding: 8px 12px 8px 0; border-top: 1px solid var(--rule); vertical-align: top; }
.list thead th { border-top: 0; color: var(--soft); font-size: .85rem; }
.list .number { text-align: right; white-space: nowrap; padding-right: 16px; }
.bar { display: block; height: 4px; border-radius: 2px; background: var(--rule); margin-top: 4px; margin-left: auto; width: 120px; max-width: 100%; }
.bar span { display: block; height: 100%; border-radius: 2px; background: var(--one); }
.mistakes { list-style: none; margin: 0; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: 20px 16px; }
.mistakes img, .blank { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 8px; margin-bottom: 8px; background: var(--rule); }
.blank { display: grid; place-items: center; color: var(--soft); font-size: .85rem; }
.mistakes p { margin: 0; font-size: .9rem; overflow-wrap: anywhere; }
.mistakes .file { color: var(--soft); font-size: .8rem; }
.settings { width: 100%; font-size: .9rem; }
.settings th { color: var(--soft); font-weight: 400; padding: 3px 24px 3px 0; white-space: nowrap; vertical-align: top; }
.settings td { padding: 3px 0; overflow-wrap: anywhere; width: 100%; }
details { margin-top: 20px; }
summary { cursor: pointer; color: var(--soft); padding: 4px 0; }
details[open] summary { margin-bottom: 8px; }
.command { margin: 0 0 20px; padding: 12px 16px; border-radius: 8px; background: color-mix(in srgb, var(--rule) 45%, transparent); white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
.best th, .best td { background: color-mix(in srgb, var(--one) 10%, transparent); }
.tag { font-size: .75rem; font-weight: 600; color: var(--one); border: 1px solid; border-radius: 4px; padding: 0 5px; margin-left: 4px; }
.state { display: inline-block; padding: 1px 10px; border-radius: 999px; color: var(--soft); border: 1px solid var(--rule); white-space: nowrap; font-size: .85rem; }
.state.trained { color: var(--one); border-color: var(--one); font-weight: 600; }
.label { color: var(--soft); font-size: .8rem; }
@media (max-width: 520px) { .tick { font-size: 17px; } .legend { gap: 10px; font-size: .8rem; } main { padding: 24px 12px 40px; } section, .facts { padding: 16px; } .settings th { white-space: normal; padding-right: 12px; } h1 { font-size: 1.6rem; } }
@media print { details > * { display: block; } .scroll { overflow: visible; } .charts > .scroll { max-height: none; } body { background: none; } section, .facts { break-inside: avoid; } }
`);
