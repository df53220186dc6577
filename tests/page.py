"""The status page in a real browser: Debian's Chromium, driven over WebDriver.

    python3 tests/page.py RELEASE_DIR [SCREENSHOT_DIR]

Made up is only a past: 80 hours of a history with an outage and a hole. What is looked at:
that the page loads nothing and breaks no rule of its own policy, lives, keeps what was opened
and who had the focus, reads at 360 and at 1920 pixels, works without its script, and that axe
(npm's axe-core) finds no fault with it, contrast among that, in light and in dark.
"""

import base64, json, os, pathlib, random, shutil, subprocess, sys, tempfile, time, urllib.error, urllib.request, zlib

RELEASE = pathlib.Path(sys.argv[1]).resolve()
SHOTS = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
DIR = pathlib.Path(tempfile.mkdtemp())
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE_S = 30
processes, failed = [], []


def check(what, fine, more=""):
    print(("ok: " if fine else "FAILED: ") + what + ("" if fine else f" {more}"), flush=True)
    if not fine:
        failed.append(what)


def start(*command):
    out = open(DIR / f"{len(processes)}.log", "wb")
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=out, text=True)
    processes.append(process)
    return process


def told(process, prefix):
    for line in process.stdout:
        if line.startswith(prefix):
            return line[len(prefix):].strip()
    raise SystemExit(f"{process.args[0]} ended without {prefix!r}")


def until(what, found):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    check(what, False, "in vain")
    return None


def answers(url):
    try:
        return urllib.request.urlopen(url).status == 200
    except urllib.error.HTTPError:
        return False


class Browser:
    def __init__(self):
        driver = start("chromedriver", "--port=0")
        line = told(driver, "ChromeDriver was started successfully on port ")
        self.at = f"http://127.0.0.1:{line.rstrip('.')}"
        args = FLAGS + [f"--user-data-dir={DIR / 'profile'}"]
        wanted = {"goog:chromeOptions": {"args": args}, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = "/session/" + session["sessionId"]

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.at + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            return json.load(urllib.request.urlopen(request))["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None

    def on(self, method, path, **body):
        return self.call(method, self.session + path, body if method == "POST" else None)

    def go(self, url):
        self.on("POST", "/url", url=url)

    def js(self, code, *args):
        return self.on("POST", "/execute/sync", script=code, args=list(args))

    def wait(self, code):
        return self.on("POST", "/execute/async", script=code, args=[])

    def tool(self, command, **params):
        return self.on("POST", "/goog/cdp/execute", cmd=command, params=params)

    def looks(self, width, scheme):
        self.tool("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.tool("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def keys(self, text):
        actions = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self.on("POST", "/actions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def log(self, kind):
        return self.on("POST", "/se/log", type=kind)

    def shot(self, name):
        if SHOTS:
            height = self.js("return document.documentElement.scrollHeight")
            width = self.js("return innerWidth")
            self.tool("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
            SHOTS.mkdir(parents=True, exist_ok=True)
            (SHOTS / f"{name}.png").write_bytes(base64.b64decode(self.on("GET", "/screenshot")))


def sealed(fields):
    text = json.dumps(fields, separators=(",", ":"))[:-1]
    # The check is over the bytes before its key, whose comma is among them.
    check_of = zlib.crc32((text + ",").encode())
    return f'{text},"c":"{check_of:08x}"}}\n'


def past(manager, port):
    """80 hours of agent attic, a probe a minute: an outage, a hole of six hours, slow nights."""
    dice, history = random.Random(7), manager / "history" / "00000000000000aa"
    history.mkdir(parents=True)
    (history / "agent").write_text("attic\n")
    lines = [sealed({"base": "00000000000000bb", "agent": "00000000000000aa", "order": 1, "last": 0, "stored": 0, "summarised": 0, "dropped": 0})]
    now, seq = int(time.time() * 1000), 0
    for minute in range(80 * 60, 60, -1):
        hour = minute / 60
        if 30 < hour < 36:
            continue
        for target in ("web", "db"):
            seq += 1
            base = 12_000 if target == "web" else 900
            us = int(base * (1.6 if hour % 24 < 6 else 1.0) * dice.lognormvariate(0, 0.35))
            down = target == "db" and 50 < hour < 52.5 or dice.random() < 0.0005
            fields = {"seq": seq, "at": now - minute * 60_000, "target": target, "ok": not down, "us": us}
            if down:
                fields |= {"why": "timeout", "text": f"connect to 127.0.0.1:{port}: timed out after 1s"}
            lines.append(sealed(fields))
    (history / f"00000001-00000000000000bb-{1:020}.jsonl").write_text("".join(lines))


def site():
    server = start(RELEASE / "tcpmon-server", "--quiet", "--listen", "127.0.0.1:0")
    up = told(server, "listening on ")
    flaky = start(RELEASE / "tcpmon-server", "--quiet", "--listen", "127.0.0.1:0")
    flaky_at = told(flaky, "listening on ")
    agent = start(RELEASE / "tcpmon-agent", "--listen", "127.0.0.1:0", "--name", "attic", "--data", DIR / "agent")
    agent_at = told(agent, "listening on ")
    fleet = {
        "agents": [{"name": "attic", "address": agent_at}, {"name": "gone", "address": "127.0.0.1:1"}],
        "defaults": {"interval": "500ms"},
        "targets": [
            {"name": "web", "address": up, "group": "shop", "tags": ["prod", "http"], "agents": ["attic"]},
            {"name": "db", "address": flaky_at, "group": "shop", "tags": ["prod"], "agents": ["attic"]},
            {"name": "nobody", "address": "127.0.0.1:9", "agents": ["attic"], "retries": 0},
            {"name": "camera-yard", "address": up, "agents": ["attic", "gone"]},
            {"name": "far", "address": up, "agents": ["gone"]},
        ],
        "maintenance": [{"targets": ["camera*"], "weekly": "Mon-Sun 00:00-24:00"}],
        "export": [{"name": "metrics", "influx": "http://127.0.0.1:9/write"}],
        "page": {"title": "Example & Co. <status>", "note": "Questions: noc@example.org", "hide": ["far"]},
    }
    (DIR / "fleet.json").write_text(json.dumps(fleet))
    past(DIR / "manager", flaky_at.rsplit(":", 1)[1])
    command = [RELEASE / "tcpmon-manager", "serve", "--config", DIR / "fleet.json", "--data", DIR / "manager"]
    manager = start(*command, "--http", "127.0.0.1:0")
    return told(manager, "http on "), (flaky, flaky_at), manager


def axe():
    """npm's axe-core, whose file is all that is needed of it."""
    pack = subprocess.run(["npm", "pack", "--silent", "axe-core@4"], cwd=DIR, capture_output=True, text=True)
    if pack.returncode != 0:
        check("axe-core from npm", False, pack.stderr.strip()[-300:])
        return None
    shutil.unpack_archive(DIR / pack.stdout.strip(), DIR / "axe", "gztar")
    return (DIR / "axe" / "package" / "axe.min.js").read_text()


def faults(browser, source):
    browser.js(source)
    found = browser.wait("const done=arguments[arguments.length-1];axe.run({resultTypes:['violations']}).then(r=>done(r.violations.map(v=>v.id+': '+v.nodes.map(n=>n.html.slice(0,120)).join(' | '))))")
    return found


def look(browser, base, source):
    text = lambda css: browser.js("const e=document.querySelector(arguments[0]);return e?e.textContent:''", css)
    for width, scheme in ((360, "light"), (1920, "dark"), (1024, "light")):
        browser.looks(width, scheme)
        browser.go(f"http://{base}/")
        until("the page lives", lambda: text("#live") == "live")
        wide = browser.js("return document.documentElement.scrollWidth-document.documentElement.clientWidth")
        check(f"nothing sticks out at {width} pixels", wide <= 0, wide)
        check(f"axe finds no fault at {width} pixels, {scheme}", source and not (found := faults(browser, source)), source and found)
        browser.shot(f"page-{width}-{scheme}")
    title = browser.js("return document.title")
    check("the title tells the verdict", title.startswith("✗ 1 down") and title.endswith("Example & Co. <status>"), title)
    hover = browser.js("const t=document.querySelector('td.since time');return t.title")
    check("a time is in UTC on hover", hover.endswith("UTC"), hover)
    bars = browser.js("return document.querySelector('#t-db .strip').getAttribute('aria-label')")
    check("bars tell of the past", "hours with failures" in bars and "not measured" in bars, bars)


def work(browser, base, flaky):
    server, at = flaky
    browser.looks(1024, "light")
    browser.go(f"http://{base}/?by=hour")
    state = lambda name: browser.js("const e=document.querySelector('#t-'+arguments[0]+' .b');return e?e.className:''", name)
    until("db is up", lambda: state("db") == "b up")
    browser.js("document.querySelector('#t-db a.t').focus()")
    browser.keys("\ue007")
    opened = "return document.querySelector('#t-db + .detail .chart')!==null"
    until("Enter opens a target", lambda: browser.js(opened))
    browser.shot("page-open")
    server.kill()
    until("a target goes down on the page", lambda: state("db") == "b down")
    check("what was opened stays open", browser.js(opened))
    held = browser.js("return document.activeElement.textContent")
    check("who had the focus keeps it", held == "db", held)
    check("the title follows", browser.js("return document.title").startswith("✗ 2 down"))
    worst = browser.js("return [...document.querySelectorAll('#targets tbody > tr[id^=t-]')].map(r=>r.id)")
    check("the worst come first", worst.index("t-db") < worst.index("t-web"), worst)
    start(RELEASE / "tcpmon-server", "--quiet", "--listen", at)
    until("and up again", lambda: state("db") == "b up")
    check("it ended up so", state("db") == "b up", state("db"))
    browser.js("document.activeElement.blur()")
    browser.keys("/")
    check("a slash goes to the search", browser.js("return document.activeElement.name") == "q")
    browser.keys("nobody\ue007")
    until("a search is answered", lambda: browser.js("return document.querySelectorAll('#targets tr[id^=t-]').length") == 1)
    browser.go(f"http://{base}/target/web?by=hour")
    check("a target has a page", browser.js("return document.querySelector('.chart .band')!==null"))
    check("a hole in its history is hatched", browser.js("return document.querySelector('.chart .gap')!==null"))
    browser.shot("target")


def without_script(browser, base):
    browser.looks(1024, "light")
    browser.tool("Emulation.setScriptExecutionDisabled", value=True)
    browser.go(f"http://{base}/")
    seen = browser.js("return [document.querySelectorAll('#targets tr[id^=t-]').length,document.querySelector('time').textContent]")
    check("without its script it is a table, in UTC", seen[0] == 5 and seen[1].endswith("UTC"), seen)
    browser.tool("Emulation.setScriptExecutionDisabled", value=False)


def silence(browser, base):
    """What the browser had to say, and whom it asked."""
    loud = [line["message"] for line in browser.log("browser") if "favicon" not in line["message"]]
    check("the browser complains of nothing", not loud, loud)
    asked = set()
    for line in browser.log("performance"):
        message = json.loads(line["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"])
    outside = [url for url in asked if not url.startswith((f"http://{base}/", "data:", "chrome"))]
    check("nobody else is asked for anything", asked and not outside, outside)


def main():
    try:
        base, flaky, manager = site()
        until("the history is read", lambda: answers(f"http://{base}/readyz"))
        browser = Browser()
        look(browser, base, axe())
        work(browser, base, flaky)
        without_script(browser, base)
        silence(browser, base)
        browser.call("DELETE", browser.session)
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
        if failed:
            for log in sorted(DIR.glob("*.log")):
                print(f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}")
        shutil.rmtree(DIR, ignore_errors=True)
    sys.exit(1 if failed else 0)


main()
