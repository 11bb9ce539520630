-- What the safety filter does for an account: only where a request asks for it, unless a request turns it off, or always.
ALTER TABLE imagegen.accounts ADD COLUMN safety text NOT NULL DEFAULT 'as_asked'
    CHECK (safety IN ('as_asked', 'default', 'required'));
