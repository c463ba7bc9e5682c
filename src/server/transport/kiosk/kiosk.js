// Signs in the user of a web app: takes the token out of the address, and posts it to where the page came from.
//
// What always holds: the token is in the history no longer than it takes to read it; the answer sets a cookie, which scripts
// cannot read.

const show = (text) => {
  document.getElementById("status").textContent = text;
};

const token = new URLSearchParams(location.hash.slice(1)).get("jwt");
history.replaceState(null, "", location.pathname + location.search);

if (token) {
  try {
    const response = await fetch(location.pathname, {
      method: "POST",
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token }),
    });
    show(response.ok ? "Signed in. This window can be closed." : await response.text());
    if (response.ok) {
      window.close();
    }
  } catch {
    show("The server cannot be reached. Start the app again.");
  }
} else {
  show("There is no token in the address. Start the app again.");
}
