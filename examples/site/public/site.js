const add = (list, text) => {
  const item = document.createElement("li");
  item.textContent = text;
  document.getElementById(list).append(item);
};

const ticks = new EventSource("/ticks");
ticks.onmessage = (event) => add("ticks", `tick ${event.data}`);
// It would connect again when the three have come.
ticks.onerror = () => ticks.close();

const socket = new WebSocket(`${location.origin.replace("http", "ws")}/echo`);
socket.onmessage = (event) => add("said", event.data);
document.getElementById("say").onsubmit = (event) => {
  event.preventDefault();
  socket.send(event.target.text.value);
};
