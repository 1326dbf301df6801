const response = await fetch("/api/hello/you");
document.querySelector("#answer").textContent = await response.text();
