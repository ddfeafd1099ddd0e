"""The SCP side: what modalities and archives send to the node."""
