// What the pages do more comfortably with a script. Every page works without it, but for following a log.
"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  // Selecting rows: all at once, a range with shift, and how many are chosen.
  const selecting = (form) => {
    const boxes = all("input[name=id]", form);
    const master = form.querySelector("[data-all]");
    const told = form.querySelector("[data-chosen]");
    let last = null;
    const show = () => {
      const chosen = boxes.filter((box) => box.checked).length;
      boxes.forEach((box) => box.closest("tr").classList.toggle("chosen", box.checked));
      if (told) told.textContent = chosen + " chosen";
      if (master) {
        master.checked = chosen > 0 && chosen === boxes.length;
        master.indeterminate = chosen > 0 && chosen < boxes.length;
      }
      all("button[name=act]", form).forEach((button) => { button.disabled = chosen === 0; });
    };
    boxes.forEach((box, place) => box.addEventListener("click", (event) => {
      if (event.shiftKey && last !== null) {
        const [from, to] = [Math.min(last, place), Math.max(last, place)];
        boxes.slice(from, to + 1).forEach((one) => { one.checked = box.checked; });
      }
      last = place;
    }));
    if (master) {
      master.closest("label").hidden = false;
      master.addEventListener("change", () => boxes.forEach((box) => { box.checked = master.checked; }));
    }
    form.addEventListener("change", show);
    show();
  };

  // Counts are asked for again while the page is looked at.
  const refreshing = (place) => {
    const again = async () => {
      if (document.hidden) return;
      const answer = await fetch(place.dataset.refresh, { headers: { accept: "application/json" } }).catch(() => null);
      if (!answer || !answer.ok) return;
      const counts = await answer.json().catch(() => ({}));
      all("[data-count]").forEach((one) => {
        const count = counts[one.dataset.count];
        if (Number.isInteger(count)) one.textContent = String(count);
      });
    };
    setInterval(again, 10000);
    document.addEventListener("visibilitychange", again);
  };

  // A log is followed until the page is left; the newest lines are kept.
  const following = (log) => {
    const state = document.querySelector("[data-log-state]");
    const tell = (text, tone) => { state.textContent = text; state.className = "note " + tone; };
    const source = new EventSource(log.dataset.log);
    source.addEventListener("open", () => { log.textContent = ""; tell("Following.", "good"); });
    source.addEventListener("line", (event) => {
      const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      log.append(event.data + "\n");
      while (log.childNodes.length > 2000) log.firstChild.remove();
      if (isAtEnd) log.scrollTop = log.scrollHeight;
    });
    source.addEventListener("over", (event) => { source.close(); tell(event.data, "warn"); });
    source.addEventListener("error", () => tell("The connection to the hub was lost; trying again.", "warn"));
    window.addEventListener("pagehide", () => source.close());
  };

  const copying = (button) => {
    if (!navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", () => {
      const text = document.getElementById(button.dataset.copy).textContent;
      navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; }, () => { button.hidden = true; });
    });
  };

  // `/` goes to the search field, as long as nobody types elsewhere.
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea, select");
    const field = document.querySelector("[data-focus='" + CSS.escape(event.key) + "']");
    if (field && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
    }
  });

  all("form[data-select]").forEach(selecting);
  all("[data-refresh]").forEach(refreshing);
  all("[data-log]").forEach(following);
  all("[data-copy]").forEach(copying);
})();
