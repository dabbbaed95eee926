"""Why a run took as long as it did: what is asked of git and of earlier runs to say so."""
