// Units that share a channel's writes: a line at a time, in turn. The one that is chosen stays until its line is taken.
`default_nettype none
module acc_wr_mux #(
  parameter int unsigned Clients = 2
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic [Clients-1:0]     wq_valid_i,
  output logic [Clients-1:0]     wq_ready_o,
  input  logic [Clients*24-1:0]  wq_line_i,
  input  logic [Clients*512-1:0] wq_data_i,
  input  logic [Clients*64-1:0]  wq_strb_i,
  // towards the channel
  output logic                   wq_valid_o,
  input  logic                   wq_ready_i,
  output logic [23:0]            wq_line_o,
  output logic [511:0]           wq_data_o,
  output logic [63:0]            wq_strb_o
);
  localparam int unsigned ClientW = Clients == 1 ? 1 : $clog2(Clients);
  logic [ClientW-1:0] turn_q, chosen;
  logic               locked_q;

  always_comb begin
    chosen = turn_q;
    for (int unsigned k = 1; k <= Clients; k++) if (!locked_q && wq_valid_i[(32'(turn_q) + Clients - k) % Clients])
      chosen = ClientW'((32'(turn_q) + Clients - k) % Clients);
  end
  assign wq_valid_o = wq_valid_i[chosen];
  assign wq_line_o  = wq_line_i[chosen*24 +: 24];
  assign wq_data_o  = wq_data_i[chosen*512 +: 512];
  assign wq_strb_o  = wq_strb_i[chosen*64 +: 64];
  for (genvar c = 0; c < Clients; c++) begin : gen_client
    assign wq_ready_o[c] = wq_ready_i && chosen == ClientW'(c);
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      turn_q   <= '0;
      locked_q <= 1'b0;
    end else if (wq_valid_o) begin
      locked_q <= !wq_ready_i;
      if (!wq_ready_i) turn_q <= chosen;
      else turn_q <= chosen == ClientW'(Clients - 1) ? '0 : chosen + 1'b1;
    end
  end
endmodule
`default_nettype wire
