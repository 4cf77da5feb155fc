/** How the page looks, in light and in dark, on paper too. */
export const style: string = `
:root { color-scheme: light dark; --text: #1b1f24; --ground: #ffffff; --line: #d0d7de; --holds: #1a7f37; --open: #9a6700; --bad: #cf222e; --data: #9fd3a9; --tree: #8fb8e8; --free: #e6e8eb; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --ground: #0d1117; --line: #30363d; --holds: #3fb950; --open: #d29922; --bad: #f85149; --data: #2a6b3a; --tree: #2b5a94; --free: #21262d; } }
body { margin: 0; color: var(--text); background: var(--ground); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 24px; }
header { border-left: 8px solid; padding: 4px 16px; }
header h1 { margin: 0; }
h2 { font-size: 18px; border-bottom: 1px solid var(--line); margin-top: 32px; }
code, pre { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; border: 1px solid var(--line); padding: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; padding: 2px 8px 2px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--text); font: 12px system-ui, sans-serif; }
rect.data, .key-data { fill: var(--data); background: var(--data); }
rect.tree, .key-tree { fill: var(--tree); background: var(--tree); }
rect.open, .key-open { fill: var(--open); background: var(--open); opacity: 0.55; }
rect.gap, .key-gap { fill: var(--free); background: var(--free); }
rect.bad, polygon.bad, .key-bad { fill: var(--bad); background: var(--bad); }
.key span span { display: inline-block; width: 12px; height: 12px; }
.key > span { margin-right: 16px; }
header.holds, li.holds i { color: var(--holds); }
header.open, li.absent i { color: var(--open); }
header.bad, li.broken i, ul.bad { color: var(--bad); }
header code, header p { color: var(--text); }
`;
