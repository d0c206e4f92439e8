"""How the page looks."""

from __future__ import annotations

from .colours import DARK, LIGHT

_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
 font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:1168px;margin:0 auto;padding:40px 24px 72px;overflow-wrap:anywhere}
h1{font-size:clamp(26px,4.2vw,38px);line-height:1.15;letter-spacing:-.018em;font-weight:650;
 margin:0 0 14px;text-wrap:balance;overflow-wrap:break-word}
h2{font-size:20px;line-height:1.3;letter-spacing:-.01em;font-weight:650;margin:52px 0 12px}
h3{font-size:15px;font-weight:650;margin:24px 0 4px}
p{margin:0 0 12px;max-width:68ch}
.verdict{display:flex;gap:10px;align-items:flex-start;font-size:18px;line-height:1.4;
 font-weight:600;padding:11px 16px 11px 12px;border-radius:8px;max-width:none;margin:0 0 20px}
.verdict.held{background:var(--good-soft);color:var(--good)}
.verdict.broke{background:var(--bad-soft);color:var(--bad)}
.verdict.open{background:var(--node-soft);color:var(--node)}
.icon{flex:none;width:20px;height:20px;margin-top:3px;fill:none;stroke:currentColor;
 stroke-width:2.2;stroke-linecap:round;stroke-linejoin:round}
.figures{display:grid;grid-template-columns:repeat(5,1fr);gap:1px;margin:26px 0 18px;
 background:var(--card);border:1px solid var(--rule);border-radius:8px;overflow:hidden}
.figures div{box-shadow:0 0 0 1px var(--rule);padding:11px 16px 12px;display:flex;
 flex-direction:column-reverse;justify-content:flex-end;min-width:0}
dt,.small,.readout small{font-size:13px;line-height:1.35;color:var(--muted)}
dd{margin:0}
.figures dd{font-size:21px;line-height:1.3;font-weight:600;font-variant-numeric:tabular-nums;
 letter-spacing:-.01em}
.figures dd.long{font-size:15px;line-height:1.45}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.replay{display:grid;grid-template-columns:auto 1fr;gap:2px 14px;font-size:13px;color:var(--muted)}
.replay dd{color:var(--ink);min-width:0}
figure{margin:0;position:relative}
svg.course,.course svg{display:block;width:100%;height:auto}
.course{display:none;touch-action:pan-y}
.course text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
 font-variant-numeric:tabular-nums;paint-order:stroke;stroke:var(--paper);stroke-width:3px;
 stroke-opacity:.7;stroke-linejoin:round}
.course.s{display:block}
.course.s svg{max-width:520px;margin:0 auto}
@media(min-width:620px){.course.s,.course.l{display:none}.course.m{display:block}}
@media(min-width:1000px){.course.m{display:none}.course.l{display:block}}
.l{fill:none;stroke-linejoin:round}
.cross{stroke:var(--ink);stroke-width:1;visibility:hidden;pointer-events:none}
.reading .cross{visibility:visible}
.readout{position:sticky;bottom:0;margin:10px 0 0;padding:10px 14px 12px;background:var(--card);
 border:1px solid var(--rule);border-radius:8px;box-shadow:0 -6px 24px rgb(0 0 0/.08)}
.readout label{display:block;font-size:13px;color:var(--muted)}
.readout input{display:block;width:100%;margin:4px 0 8px;accent-color:var(--site0)}
.readout output{display:block;font-size:14px;line-height:1.45;font-variant-numeric:tabular-nums;
 max-height:32vh;overflow:auto}
.readout b{font-weight:650}
.readout ul{list-style:none;margin:6px 0 0;padding:0;display:grid;gap:2px 18px;
 grid-template-columns:repeat(auto-fill,minmax(min(100%,290px),1fr))}
.checks{list-style:none;margin:0;padding:0}
.checks li{display:grid;grid-template-columns:20px 1fr;gap:2px 10px;padding:8px 0;
 border-top:1px solid var(--rule)}
.checks .icon{margin-top:2px;width:18px;height:18px}
.checks .held .icon{color:var(--good)}
.checks .broke{color:var(--bad);font-weight:600}
.checks .small{grid-column:2;font-weight:400}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:0 48px}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
td:last-child{min-width:140px}
.scroll{overflow-x:auto;position:relative}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{text-align:left;vertical-align:top;padding:6px 16px 6px 0;border-top:1px solid var(--rule)}
th{white-space:nowrap;font-size:13px;font-weight:500;color:var(--muted);border-top:0}
td:not(:last-child){white-space:nowrap;color:var(--muted);width:1%}
.bar{display:inline-block;height:11px;margin-right:8px;border-radius:2px;background:var(--site0)}
summary{cursor:pointer;padding:6px 0;color:var(--site0);font-weight:500}
:focus-visible{outline:2px solid var(--site0);outline-offset:2px;border-radius:3px}
.words{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,240px),1fr));gap:4px 36px}
.words p{font-size:15px;margin:0}
@media(max-width:619px){main{padding:26px 16px 56px}h2{margin-top:42px}
 .figures{grid-template-columns:1fr 1fr}.verdict{font-size:16px}.icon{margin-top:1px}}
@media print{.readout{display:none}}
"""


def css() -> str:
    """All of it, with the colours by name."""
    roles = "".join(f".f-{role}{{fill:var(--{role})}}" for role in LIGHT)
    lines = "".join(f".s-{role}{{stroke:var(--{role})}}" for role in LIGHT)
    light, dark = (
        "".join(f"--{role}:{colour};" for role, colour in palette.items())
        for palette in (LIGHT, DARK)
    )
    return (
        f":root{{color-scheme:light dark;{light}}}"
        f"@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{roles}{lines}{_RULES}"
    )
