// Shows the page anew once there is another build. Nothing else is asked for.
(() => {
  const { since, again } = document.currentScript.dataset;
  const state = document.getElementById("state");
  const pause = () => new Promise((done) => setTimeout(done, 1000));
  const next = async () => {
    for (;;) {
      try {
        const answer = await fetch("/.embly/dev/reload?since=" + since, { cache: "no-store", credentials: "omit" });
        // 404: the project is served in another way by now.
        if (answer.status === 200 || answer.status === 404) return;
        if (answer.status !== 204) await pause();
      } catch {
        state.textContent = "embly dev does not answer; this page looks for it again and again.";
        await pause();
      }
    }
  };
  next().then(() => {
    if (again === "yes") location.reload();
    else state.textContent = "There is a new build. The request is not sent again by itself: go back, and send it.";
  });
})();
