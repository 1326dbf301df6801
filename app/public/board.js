// The board in a browser: what is said comes over a WebSocket, accounts and search over HTTP.

const $ = (id) => document.getElementById(id);
const posts = $("posts");
const LONGEST = 500;
const SHOWN = 200;

let user = null;
let socket = null;
let wait = 500;
// Of those that are shown, or wait behind what was searched for.
let board = [];
let question = "";

// --- posts ---

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short" });

function when(seconds) {
  const date = new Date(seconds * 1000);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : day.format(date);
}

function hue(name) {
  let sum = 0;
  for (const c of name) sum = (sum * 31 + c.codePointAt(0)) % 360;
  return sum;
}

/** The text, with words that begin as those of the question marked. */
function marked(text, question) {
  const words = question.match(/[\p{L}\p{N}]+/gu);
  if (!words) return [text];
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(${words.join("|")})`, "giu");
  return text.split(pattern).map((piece, n) => {
    if (n % 2 === 0) return piece;
    const mark = document.createElement("mark");
    mark.textContent = piece;
    return mark;
  });
}

function element(post) {
  const one = $("post").content.firstElementChild.cloneNode(true);
  const author = one.querySelector(".author");
  const time = one.querySelector("time");
  const face = one.querySelector(".face");
  author.textContent = post.author;
  author.href = `/u/${encodeURIComponent(post.author)}`;
  time.textContent = when(post.at);
  time.dateTime = new Date(post.at * 1000).toISOString();
  face.textContent = post.author.slice(0, 2).toUpperCase();
  face.style.setProperty("--hue", hue(post.author));
  one.querySelector("p").append(...marked(post.text, question));
  return one;
}

function show(list) {
  posts.replaceChildren(...list.map(element));
  $("nothing").hidden = list.length > 0;
}

function add(post) {
  board = [post, ...board].slice(0, SHOWN);
  if (question) return;
  const one = element(post);
  one.classList.add("new");
  posts.prepend(one);
  while (posts.childElementCount > SHOWN) posts.lastElementChild.remove();
  $("nothing").hidden = true;
}

// --- the connection ---

function state(name, text) {
  $("state").dataset.state = name;
  $("state").textContent = text;
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const mine = (socket = new WebSocket(`${scheme}://${location.host}/board`));
  mine.onmessage = ({ data }) => {
    const told = JSON.parse(data);
    if (told.hello) {
      wait = 500;
      state("live", "live");
      became(told.hello.user);
      board = told.hello.posts.reverse();
      if (!question) show(board);
    } else if (told.post) {
      add(told.post);
      if (told.post.author === user && sent !== null && told.post.text === sent.trim()) taken();
    } else if (told.refused) {
      note(told.refused);
    }
  };
  mine.onclose = () => {
    if (socket !== mine) return;
    state("lost", "connecting again");
    if (sent !== null) note("the connection was lost: post it again");
    setTimeout(connect, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 15_000);
  };
}

function again() {
  const old = socket;
  socket = null;
  old?.close();
  connect();
}

// --- saying something ---

// What is on its way.
let sent = null;
const text = $("text");

function note(what) {
  $("note").textContent = what;
  sent = null;
  $("say").querySelector("button").disabled = false;
}

function taken() {
  text.value = "";
  count();
  note("");
}

function count() {
  $("left").textContent = LONGEST - [...text.value].length;
}

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!text.value.trim()) return;
  if (socket?.readyState !== WebSocket.OPEN) return note("there is no connection just now");
  sent = text.value;
  $("note").textContent = "";
  $("say").querySelector("button").disabled = true;
  socket.send(JSON.stringify({ text: sent }));
});
text.addEventListener("input", count);
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("say").requestSubmit();
});

// --- search ---

let searching = 0;

async function search() {
  question = $("question").value.trim();
  const mine = ++searching;
  $("title").hidden = !question;
  if (!question) return show(board);
  const answer = await fetch(`/api/search?q=${encodeURIComponent(question)}`);
  if (mine !== searching) return;
  if (!answer.ok) {
    $("title").textContent = "Searching did not work, try again.";
    return show([]);
  }
  const found = (await answer.json()).posts;
  if (mine !== searching) return;
  $("title").textContent = `${found.length} found for “${question}”`;
  show(found);
}

let soon;
$("question").addEventListener("input", () => {
  clearTimeout(soon);
  soon = setTimeout(search, 150);
});
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(soon);
  search();
});

// --- who one is ---

let making = false;

function became(name) {
  user = name;
  $("say").hidden = !name;
  $("invite").hidden = Boolean(name);
  $("enter").hidden = Boolean(name);
  $("leave").hidden = !name;
  $("me").hidden = !name;
  if (name) {
    $("me").textContent = name;
    $("me").href = `/u/${encodeURIComponent(name)}`;
  }
}

function door(make) {
  making = make;
  const word = make ? "Make an account" : "Sign in";
  $("door-title").textContent = word;
  $("account").querySelector("button").textContent = word;
  $("other-question").textContent = make ? "Here before?" : "New here?";
  $("other").textContent = make ? "Sign in" : "Make an account";
  $("email").hidden = !make;
  $("account").elements.password.autocomplete = make ? "new-password" : "current-password";
  wrong("");
  if (!$("door").open) $("door").showModal();
  $("account").elements.username.focus();
}

function wrong(what, field) {
  $("wrong").textContent = what;
  for (const input of $("account").querySelectorAll("input")) {
    input.ariaInvalid = input.name === field ? "true" : null;
    if (input.name === field) input.focus();
  }
}

const ask = (what, body) =>
  fetch(`/api/auth/${what}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

$("account").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = Object.fromEntries(new FormData(event.target));
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    const answer = await ask(making ? "register" : "sign-in", fields);
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) {
      event.target.reset();
      $("door").close();
      became(said.username);
      again();
      text.focus();
    } else if (said.field) {
      wrong(`${said.field} ${said.msg}`, said.field);
    } else if (answer.status === 401) {
      wrong("Name and password do not go together.", "password");
    } else {
      wrong(answer.status === 429 ? "Too often: wait a little." : "That did not work, try again.");
    }
  } catch {
    wrong("There is no connection just now.");
  } finally {
    button.disabled = false;
  }
});

$("other").addEventListener("click", () => door(!making));
$("enter").addEventListener("click", () => door(false));
$("invite").querySelector("button").addEventListener("click", () => door(false));
$("leave").addEventListener("click", async () => {
  await ask("sign-out", {});
  became(null);
  again();
});

// --- keys ---

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, dialog");
  if (event.key === "Escape" && event.target === $("question")) {
    $("question").value = "";
    search();
    $("question").blur();
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    $("question").focus();
  } else if (event.key === "n") {
    event.preventDefault();
    if (user) text.focus();
    else door(false);
  }
});

connect();
